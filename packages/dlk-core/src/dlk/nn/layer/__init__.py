"""Layers of a model: embeddings, encoders and decoders."""
