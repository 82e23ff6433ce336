"""Files to files: a table of places in, the same table with embeddings out, in constant memory.

source ─▶ locations ─▶ places ─▶ embeddings ─▶ sink

A source yields blocks of rows, `locations` finds the places in them, worker threads embed block after
block, and a sink writes them in the order they came in. `local.embed_table` is that pipeline.
"""
