"""Building blocks of networks for text."""
