"""What a teacher knows, stored once: zarr stores, their manifests, and exact replay."""
