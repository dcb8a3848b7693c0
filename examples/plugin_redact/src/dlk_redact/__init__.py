"""A plugin of dlk that hides personal details from models."""
