"""Trained modules as ONNX graphs, and the check that a graph is the module."""
