"""What the claims draw their cases from."""
