"""Distances that tell a pair from other pairs."""
