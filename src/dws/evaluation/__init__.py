"""Evaluation of trained runs: metrics of the test split, embeddings and their t-SNE."""
