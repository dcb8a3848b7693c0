"""From configs of dlk 0.1 to ours: what ``dlk migrate`` does."""
