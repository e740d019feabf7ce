"""Atomic file writes, folder locks, plain-value files, hashes and file names."""
