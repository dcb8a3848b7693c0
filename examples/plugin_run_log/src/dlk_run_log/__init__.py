"""A plugin of dlk that writes what happens to a file."""
