"""Building blocks that several components share: pooling, recurrent layers, attention, positions."""
