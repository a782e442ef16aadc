"""A drive through simulated traffic with six cameras and a 32-beam LiDAR, as in nuScenes."""
