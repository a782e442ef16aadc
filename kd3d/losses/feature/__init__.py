"""Distances between intermediate features."""
