"""Building blocks that components share: pooling, recurrent layers, attention, positions."""
