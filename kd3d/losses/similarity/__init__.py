"""Distances between the relations that features have among each other."""
