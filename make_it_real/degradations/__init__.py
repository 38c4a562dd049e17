"""Degradations: images → damaged images, by name and level."""
