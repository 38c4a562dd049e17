"""f at work: projection, refinement, scores, folders of files."""
