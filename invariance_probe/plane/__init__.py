"""The one geometric convention: coordinates, samplers, transforms, regions."""
