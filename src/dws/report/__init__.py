"""Reports: results of many runs as tables, figures and one web page."""
