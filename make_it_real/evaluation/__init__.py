"""How good f is: metrics, feature extractors, measurements and reports."""
