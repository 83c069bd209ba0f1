"""Numbers about embeddings and their prototypes."""
