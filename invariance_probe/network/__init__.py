"""Any network as it is: loaded, listed, tapped, its cells placed on the input."""
