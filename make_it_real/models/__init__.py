"""Networks and sources."""
