"""Files to files: a table of places in, the same table with embeddings out, in constant memory.

source ─▶ locations ─▶ places ─▶ embeddings ─▶ sink

A source yields blocks of rows, `locations` finds the places in them, worker threads embed block after
block, and a sink writes them in the order they came in. `local.embed_table` is that pipeline.

What is too large for a file becomes a dataset, a folder of parts:

job ─▶ parts ─▶ engine (`threads`, `ray_engine`) ─▶ folder

A job says which parts there are and makes any of them alone: `table_job` of places (`cell_input`, `table_input`) and
what is added to them (`additions`), `raster_job` of pixels. `run.make_dataset` has an engine make what is missing.
"""
