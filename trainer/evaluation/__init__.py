"""What an embedding is worth, measured."""
