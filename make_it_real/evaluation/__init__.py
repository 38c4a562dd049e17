"""How good f is."""
