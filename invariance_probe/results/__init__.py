"""What a probe returns: tables, their summaries and parts, figures drawn from them."""
