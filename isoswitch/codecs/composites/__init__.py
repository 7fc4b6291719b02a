"""Fields within fields: positions, bitmaps, tags and data sets of the networks."""
