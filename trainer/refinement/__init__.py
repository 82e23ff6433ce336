"""The refinements of SatCLE: what makes the embedding continuous."""
