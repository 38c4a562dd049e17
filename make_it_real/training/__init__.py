"""Training f: losses, the objectives that put them together, the loop, and a run's folder."""
