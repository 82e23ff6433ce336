"""Imagery as training data: rasters, places and the tiles around them."""
