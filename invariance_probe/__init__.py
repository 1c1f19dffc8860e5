"""Measure how far a spatial warp can re-align a CNN's feature maps."""
