"""Hiding the labels of most frames."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS

from kd3d.core.labelled import FLAG
from kd3d.engine.experiment import supervision
from kd3d.engine.register import register_all
from kd3d.errors import UserError

register_all()


class Frames(torch.utils.data.Dataset):
    """Ten frames, each with as many boxes as its number."""

    metainfo = {"classes": ("Car",)}

    def full_init(self):
        pass

    def __len__(self):
        return 10

    def __getitem__(self, index):
        from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
        from mmengine.structures import InstanceData

        boxes = LiDARInstance3DBoxes(torch.ones(index, 7))
        sample = Det3DDataSample(metainfo={"frame": index})
        labels = torch.zeros(index, dtype=torch.long)
        sample.gt_instances_3d = InstanceData(bboxes_3d=boxes, labels_3d=labels)
        return {"inputs": {}, "data_samples": sample}

    def get_data_info(self, index):
        return {"lidar_points": {"lidar_path": f"velodyne/{index:06}.bin"}}


def built(labelled, **options):
    return DATASETS.build(
        dict(type="PartlyLabelled", dataset=Frames(), labelled=labelled, **options)
    )


def seen(dataset):
    samples = [dataset[i]["data_samples"] for i in range(len(dataset))]
    return [(s.metainfo["frame"], s.metainfo[FLAG], len(s.gt_instances_3d)) for s in samples]


def test_names_repeats_and_hidden_labels(tmp_path):
    names = tmp_path / "labelled.txt"
    names.write_text("000003\n000007\n")
    shown = seen(built(str(names), repeat=2))
    assert shown[:4] == [(3, True, 3), (7, True, 7)] * 2
    assert shown[4:] == [(i, False, 0) for i in (0, 1, 2, 4, 5, 6, 8, 9)]
    assert seen(built(["000003", "000007"], unlabelled=False)) == shown[:2]


def test_a_count_is_a_choice_by_seed():
    first, second = seen(built(4)), seen(built(4, seed=1))
    assert first == seen(built(4)) != second
    assert [s[1] for s in first] == [True] * 4 + [False] * 6
    assert sorted(s[0] for s in first) == list(range(10))


@pytest.mark.parametrize("labelled", [0, 11, [], ["000042"], "no/such/file.txt"])
def test_impossible_choices_are_refused(labelled):
    with pytest.raises(UserError):
        built(labelled)


@pytest.mark.parametrize(
    "labelled, told",
    [(20, "20 frames, seed 3"), (["a", "b"], "2 named frames"), ("l.txt", "l.txt")],
)
def test_a_runs_record_says_which_labels_it_saw(labelled, told):
    """Runs of other labels are not comparable, those of equal ones are."""
    inner = dict(type="KittiDataset")
    partly = dict(type="PartlyLabelled", labelled=labelled, seed=3, dataset=inner)
    dataset = dict(type="SeededViews", dataset=partly)
    student = dict(student=dict(model=dict(type="CenterPoint")))
    said = supervision(Config(dict(model=student, train_dataloader=dict(dataset=dataset))))
    assert said == f"3D boxes of some of the training split: {told}"
    repeated = dict(dataset=dict(type="RepeatDataset", dataset=inner))
    whole = Config(dict(model=student, train_dataloader=repeated))
    assert supervision(whole) == "3D boxes of the training split"
    deep = dict(student=dict(model=dict(type="BEVDet", depth_loss=dict(weight=1.0))))
    whole = Config(dict(model=deep, train_dataloader=repeated))
    assert supervision(whole).endswith(", depth of LiDAR points")
