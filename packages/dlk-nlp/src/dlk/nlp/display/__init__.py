"""Pictures of text predictions. Importing this package loads nothing heavy."""
