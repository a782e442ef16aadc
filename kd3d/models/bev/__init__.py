"""Bird's-eye-view detectors of cameras, which mmdet3d 1.4 lacks.

Importing this package registers them with mmdet3d's ``MODELS``; it needs nothing of kd3d's
distillation, so that their configs and checkpoints serve in mmdet3d as they are, with
``custom_imports = dict(imports=['kd3d.models.bev'])``.
"""
