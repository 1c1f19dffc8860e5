"""The settings in which equality is exact: the lattice, and the continuum in closed form."""
