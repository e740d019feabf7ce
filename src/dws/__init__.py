"""Learning in deep weight spaces: networks whose input is the weights of another network."""

__version__ = "0.1.0"
