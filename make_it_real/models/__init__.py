"""The networks, f and the critics, and the sources that draw z."""
