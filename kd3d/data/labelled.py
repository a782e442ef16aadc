"""A data set of which only some frames are labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmdet3d.structures import Det3DDataSample
from mmengine.registry import DATASETS

from kd3d.core.labelled import FLAG
from kd3d.errors import UserError


@DATASETS.register_module()
class PartlyLabelled:
    """Hide the labels of all but some frames of a data set: training in a shortage of labels.

    Frames without labels come with empty ground truth and the metainfo ``labelled=False``; the
    detection loss leaves them out (`kd3d.core.labelled`), and terms that need no ground truth
    learn from them. Labels are taken away after the pipeline, so put no ``ObjectSample`` into it
    whose data base holds objects of the hidden frames.

    Args:
        dataset: A mmdet3d data set or its config; inside of ``SeededViews``.
        labelled: How many frames keep their labels, chosen by `seed`; or their names (the stem of
            the cloud's file), or a text file with one name a line.
        seed: Of that choice.
        repeat: Show every labelled frame so many times an epoch.
        unlabelled: Whether the other frames are shown; False: train on the labelled ones alone.

    Raises:
        UserError: More labelled frames than there are, none, or a name that is not there.
    """

    def __init__(
        self,
        dataset: Any,
        labelled: int | list[str] | str,
        seed: int = 0,
        repeat: int = 1,
        unlabelled: bool = True,
    ) -> None:
        with DATASETS.switch_scope_and_registry("mmdet3d") as registry:
            self.dataset = registry.build(dataset) if isinstance(dataset, dict) else dataset
        self.dataset.full_init()
        chosen = self._chosen(labelled, seed)
        hidden = [i for i in range(len(self.dataset)) if i not in set(chosen)] * bool(unlabelled)
        self.shown = [(i, True) for i in chosen] * repeat + [(i, False) for i in hidden]

    def _chosen(self, labelled: int | list[str] | str, seed: int) -> list[int]:
        size, where = len(self.dataset), "PartlyLabelled.labelled"
        if isinstance(labelled, int):
            if not 0 < labelled <= size:
                raise UserError(f"{labelled} of {size} frames", where, f"1 to {size}")
            return sorted(int(i) for i in np.random.default_rng(seed).permutation(size)[:labelled])
        if isinstance(labelled, str):
            if not Path(labelled).is_file():
                raise UserError("no such list of frames", labelled)
            labelled = Path(labelled).read_text(encoding="utf-8").split()
        index = {self._name(i): i for i in range(size)}
        absent = [name for name in labelled if name not in index]
        if absent or not labelled:
            what = f"no frame {absent[0]!r} among {size}" if absent else "no frame is named"
            raise UserError(what, where)
        return sorted(index[name] for name in labelled)

    def _name(self, index: int) -> str:
        return Path(self.dataset.get_data_info(index)["lidar_points"]["lidar_path"]).stem

    def full_init(self) -> None:
        """Done at the start."""

    @property
    def metainfo(self) -> dict[str, Any]:
        """Classes and the like, as the wrapped data set gives them."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        """Return the number of samples in an epoch."""
        return len(self.shown)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a packed sample, without its labels where they are hidden."""
        place, labelled = self.shown[index]
        data = self.dataset[place]
        sample: Det3DDataSample = data["data_samples"]
        if not labelled:
            sample.gt_instances_3d = sample.gt_instances_3d[:0]
            sample.eval_ann_info = None
        sample.set_metainfo({FLAG: labelled})
        return data

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Return the annotation of a sample, hidden labels too."""
        return self.dataset.get_data_info(self.shown[index][0])

    def get_cat_ids(self, index: int) -> Any:
        """Return the classes in a sample."""
        return self.dataset.get_cat_ids(self.shown[index][0])
