"""A plugin of dlk that refuses what would end badly."""
