"""The method: losses, objectives and the loop."""
