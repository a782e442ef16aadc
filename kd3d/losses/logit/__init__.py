"""Distances between class scores."""
