"""Frames as one page that needs no network: points, boxes of several models, maps, pictures."""
