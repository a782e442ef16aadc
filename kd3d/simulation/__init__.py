"""Simulated scenes, LiDAR and cameras, and their writers in real data sets' layouts."""
