"""Decoders of text tasks."""
