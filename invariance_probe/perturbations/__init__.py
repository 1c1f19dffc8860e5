"""How training images are moved and cluttered, and the poses that say how."""
