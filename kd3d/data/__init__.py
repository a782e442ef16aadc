"""KITTI files, their validation and conversion, and the transforms mmdet3d lacks."""
