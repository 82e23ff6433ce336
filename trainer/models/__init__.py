"""What is trained: towers from places and from images to one embedding space."""
