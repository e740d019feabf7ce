"""A local web page: draw a digit, fit a SIREN to it, and predict from its weights."""
