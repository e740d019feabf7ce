"""Evaluation of trained runs: figures of the test split, embeddings, pictures and tables."""
