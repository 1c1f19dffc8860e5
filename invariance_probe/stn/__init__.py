"""Spatial transformer networks: data, perturbations, networks, training and pose statistics."""
