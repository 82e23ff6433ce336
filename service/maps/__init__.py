"""Maps of what embeddings say: grids and tiles of pixels, H3 cells, colours, files. Knows no HTTP.

A `Layer` turns embeddings into values, a `Grid` says where the pixels are, `raster.strips` computes the one over the
other in bounded memory, and `render`, `cog` and `table` write the result down.
"""
