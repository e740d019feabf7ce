"""Local web page: draw a digit, fit a SIREN to it, and predict the digit from its weights."""
