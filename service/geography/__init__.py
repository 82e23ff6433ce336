"""What is known of places besides their embeddings: land or sea, and how far it is to where a model was trained."""
