"""Evaluation of trained models: test metrics, embeddings and t-SNE."""
