"""Trainers: who runs the loop. `lightning` is the one that dlk brings."""
