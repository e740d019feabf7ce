"""Evaluation of trained runs: figures of the test split, embeddings, pictures and tables.

Nothing is imported here: ``dws.evaluation.tables`` is to print at once, without loading torch.
"""
