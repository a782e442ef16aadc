"""Stock detectors of six kinds on a small range, and data for them."""

import torch.nn.functional as F

from kd3d.models.shrink import shrink_model
from kd3d.models.source import resolve_detector
from tests import toy

NUS = "mmdet3d::centerpoint/centerpoint_"
# name -> config, voxel edge in metres, values of a point, values of a box
FAMILIES = {
    "pointpillars": (toy.POINTPILLARS, 0.4, 4, 7),
    "second": ("mmdet3d::second/second_hv_secfpn_8xb6-80e_kitti-3d-3class.py", 0.2, 4, 7),
    "centerpoint-pillar": ("kd3d::_base_/models/centerpoint_pillar016_kitti.py", 0.4, 4, 9),
    "centerpoint-voxel": (f"{NUS}voxel01_second_secfpn_8xb4-cyclic-20e_nus-3d.py", 0.2, 5, 9),
    "centerpoint-dcn": (
        f"{NUS}pillar02_second_secfpn_head-dcn_8xb4-cyclic-20e_nus-3d.py", 0.4, 5, 9,
    ),
    "pointpillars-fpn": (
        "mmdet3d::pointpillars/pointpillars_hv_fpn_sbn-all_8xb4-2x_nus-3d.py", 0.4, 4, 9,
    ),
}  # fmt: skip


def on_range(value, limits=toy.RANGE):
    """Return a stock model dict with other limits along x and y; its cells must be set anew."""
    low, high = limits[:2], limits[3:5]
    if isinstance(value, list):
        return [on_range(item, limits) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {key: on_range(item, limits) for key, item in value.items()}
    for key, old in value.items():
        if key == "point_cloud_range":
            changed[key] = [*low, old[2], *high, old[5]]
        elif key == "pc_range":
            changed[key] = list(low)
        elif key == "ranges":
            changed[key] = [[*low, one[2], *high, one[5]] for one in old]
    return changed


def small(name):
    """Return the stock model dict of a family, at full width on `toy.RANGE`."""
    config, voxel_m, _, _ = FAMILIES[name]
    return shrink_model(on_range(resolve_detector(dict(config=config))), voxel_m=voxel_m)


def batch(name, **options):
    """Return a raw collated batch for a family."""
    _, _, columns, box_dim = FAMILIES[name]
    data = toy.batch(box_dim=box_dim, **options)
    data["inputs"]["points"] = [F.pad(p, (0, columns - 4)) for p in data["inputs"]["points"]]
    return data
