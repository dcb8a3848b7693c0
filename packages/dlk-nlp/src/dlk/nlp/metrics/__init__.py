"""Streaming metrics of text tasks. Importing this package loads nothing heavy."""
