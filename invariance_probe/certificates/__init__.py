"""What no warp can beat: proven bounds, for any warp and for families of warps."""
