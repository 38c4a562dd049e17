"""Damage to images, by name and level."""
