"""Spatial transformers for any network, and the networks of the papers with them inside."""
