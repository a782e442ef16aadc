"""Distances between distributions over depth, and between depths within an object."""
