"""Bird's-eye-view detectors of cameras, which mmdet3d 1.4 lacks.

Importing `kd3d.models.bev.detectors` registers them with mmdet3d's ``MODELS``. They need nothing of
kd3d's distillation: their configs and checkpoints serve in mmdet3d as they are, with
``custom_imports = dict(imports=['kd3d.models.bev.detectors'])``.
"""
