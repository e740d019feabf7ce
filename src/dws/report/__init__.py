"""Results of many runs as tables and one page."""
