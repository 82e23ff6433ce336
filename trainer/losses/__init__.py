"""Losses, one a file: embeddings in, a scalar out."""
