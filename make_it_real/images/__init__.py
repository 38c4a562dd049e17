"""A picture's way in and out: files, pixels, framing, and back into the picture."""
