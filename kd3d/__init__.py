"""kd3d: knowledge distillation for 3D and multi-view perception."""

__version__ = "0.1.0"
