"""The web page of ``mir app``: draw, drop or paste, and see it become real."""
