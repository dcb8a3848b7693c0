"""An embedding for dlk whose table is much smaller than the vocabulary."""
