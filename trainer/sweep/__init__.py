"""Sweeps: many runs of one config varied, each in a folder of its own, compared by what the folders hold."""
