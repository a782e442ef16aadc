"""Import this before forking: it leaves nothing to import and nothing for numba to compile."""

import tempfile
from pathlib import Path

import torch

from kd3d.data.views import seeded_dataloader
from kd3d.engine.runner import SafeRunner
from tests.engine.killed import config
from tests.engine.tiny import prepared

torch.set_num_threads(1)
with tempfile.TemporaryDirectory() as root:
    loader = config(prepared(Path(root) / "kitti"), root).train_dataloader.to_dict()
    SafeRunner.build_dataloader(seeded_dataloader(loader), seed=0).dataset.sample(0)
