"""What computes embeddings: a small contract, its ONNX implementation, and a fake that needs no model."""
