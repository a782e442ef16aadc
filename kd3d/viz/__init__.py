"""Pictures of point clouds, camera images and boxes."""
