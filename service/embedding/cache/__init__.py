"""Rows kept by cell. An answer never depends on the cache: a hit is bit for bit what was computed."""
