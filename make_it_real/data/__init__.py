"""Images to train on: folders, zips and IDX files, and the cache of their pixels."""
