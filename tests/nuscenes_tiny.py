"""A small simulated nuScenes set, made once a test run."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from kd3d.simulation.nuscenes import simulate_nuscenes

SCENES, SAMPLES, SWEEPS, SEED, SIZE = 2, 3, 2, 5, (128, 72)


@functools.lru_cache(maxsize=1)
def simulated() -> Path:
    """Return the folder; leave its files as they are."""
    folder = Path(tempfile.mkdtemp(prefix="kd3d-nuscenes-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return simulate_nuscenes(folder / "set", SCENES, SAMPLES, SEED, SWEEPS, SIZE, workers=1)


@functools.lru_cache(maxsize=1)
def prepared() -> Path:
    """Return a folder with the infos of `simulated`."""
    from kd3d.data.nuscenes_prepare import prepare_nuscenes

    return prepare_nuscenes(
        simulated(), sweeps=3, out=simulated().parent / "infos", pictures=False
    ).out


def dataset(pipeline, **changes):
    """Return mmdet3d's data set of the validation split."""
    from mmdet3d.registry import DATASETS
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet3d")
    cameras = ("FRONT", "FRONT_RIGHT", "FRONT_LEFT", "BACK", "BACK_LEFT", "BACK_RIGHT")
    values = dict(
        type="NuScenesDataset",
        data_root=str(simulated()),
        ann_file=str(prepared() / "nuscenes_infos_val.pkl"),
        data_prefix=dict(
            pts="samples/LIDAR_TOP",
            sweeps="sweeps/LIDAR_TOP",
            **{f"CAM_{name}": f"samples/CAM_{name}" for name in cameras},
        ),
        pipeline=pipeline,
        modality=dict(use_camera=True, use_lidar=True),
        metainfo=dict(version="v1.0-mini"),
        test_mode=True,
    )
    return DATASETS.build({**values, **changes})
