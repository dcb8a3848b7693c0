"""Measurements that dlk is held to."""
