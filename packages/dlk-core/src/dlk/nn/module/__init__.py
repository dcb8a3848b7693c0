"""Building blocks that several components share: pooling, packed recurrent layers."""
