"""Distances between boxes and between their encodings."""
