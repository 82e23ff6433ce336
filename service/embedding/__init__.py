"""From places to rows: cells, cache, batcher, backends. It knows no HTTP."""
