"""Data that depend on (seed, view, index) alone."""

import contextlib
import copy
import random

import numpy as np
import pytest
import torch
from mmengine.config import Config

from kd3d.data.views import ViewSampler, random_state, seeded_dataloader
from kd3d.engine.register import register_all
from kd3d.engine.runner import SafeRunner, set_data_root
from kd3d.errors import UserError
from tests.engine.tiny import prepared
from tests.paths import ROOT

register_all()


@pytest.fixture(scope="module")
def loader(tmp_path_factory):
    """The KITTI configs' data loader on three tiny frames: pasting, repetition, shuffled points."""
    kitti = prepared(tmp_path_factory.mktemp("views") / "kitti")
    config = Config.fromfile(ROOT / "configs/_base_/datasets/kitti-3d-3class.py")
    set_data_root(config, kitti)
    dataloader = config.train_dataloader.to_dict()
    dataloader |= dict(batch_size=2, num_workers=0, persistent_workers=False)
    return dataloader


def build(dataloader, workers=0, views=None, seed=3):
    config = seeded_dataloader(dataloader, views=views)
    config |= dict(num_workers=workers, persistent_workers=workers > 0)
    return SafeRunner.build_dataloader(config, seed=seed)


def epochs(dataloader, count):
    """Return epoch -> [(view, index, points, boxes)] in the order of loading."""
    shown = []
    for epoch in range(count):
        dataloader.sampler.set_epoch(epoch)
        shown.append([])
        for batch in dataloader:
            for points, sample in zip(batch["inputs"]["points"], batch["data_samples"]):
                key = sample.metainfo["view"], sample.metainfo["view_index"]
                boxes = sample.gt_instances_3d.bboxes_3d.tensor
                shown[-1].append((*key, points, boxes))
    return shown


def same(first, second):
    return all(
        a[:2] == b[:2] and torch.equal(a[2], b[2]) and torch.equal(a[3], b[3])
        for a, b in zip(first, second, strict=True)
    )


def test_workers_order_and_a_fresh_start_change_nothing(loader):
    alone = epochs(build(loader), 3)
    torch.manual_seed(99)  # another random state outside
    workers = epochs(build(loader, workers=2), 3)
    assert all(map(same, alone, workers))
    assert [len(shown) for shown in alone] == [6, 6, 6]  # three frames, twice
    fresh = build(loader)  # as after a resume: the third epoch first, one sample at a time
    third = {shown[:2]: shown for shown in alone[2]}
    for (view, index), expected in reversed(third.items()):
        data = fresh.dataset.sample(index, view)
        assert torch.equal(data["inputs"]["points"], expected[2])
        assert data["data_samples"].metainfo["view_seed"] == 3
    # views, repetitions and seeds differ
    by_index = {shown[1]: shown[2] for shown in alone[0]}
    assert not torch.equal(by_index[0], by_index[3])
    assert not torch.equal(by_index[0], {s[1]: s[2] for s in alone[1]}[0])
    assert not torch.equal(by_index[0], build(loader, seed=4).dataset.sample(0)["inputs"]["points"])


def test_pasting_has_no_memory(loader):
    """The same state pastes the same objects, whatever was pasted before."""
    dataset = build(loader).dataset
    objects = dataset.dataset.dataset.pipeline.transforms[2].db_sampler
    assert type(objects).__name__ == "ObjectDatabase"

    def draw():
        with random_state(5):
            return [info["path"] for info in objects.sampler_dict["Car"].sample(2)]

    first = draw()
    objects.sampler_dict["Car"].sample(1)
    assert draw() == first
    assert len(set(first)) == len(first)


def test_views_come_in_turn(loader):
    shown = epochs(build(loader, views=2), 4)
    assert [{s[0] for s in epoch} for epoch in shown] == [{0}, {1}, {0}, {1}]
    again = {s[1]: s[2] for s in shown[2]}
    assert all(torch.equal(s[2], again[s[1]]) for s in shown[0])
    assert [s[1] for s in shown[0]] != [s[1] for s in shown[2]]  # the order is new


def test_infinite_sampler_numbers_its_passes(loader):
    endless = copy.deepcopy(loader) | dict(sampler=dict(type="InfiniteSampler", shuffle=True))
    sampler = build(endless, views=2).sampler
    keys = [key for key, _ in zip(sampler, range(18))]
    assert sorted(keys[:6]) == sorted(keys[12:]) == list(range(6))
    assert sorted(keys[6:12]) == list(range(6, 12))


def test_two_ranks_see_what_one_process_sees(loader, monkeypatch):
    dataset = build(loader).dataset
    one = list(ViewSampler(dataset, seed=3))
    ranks = []
    for rank in range(2):
        monkeypatch.setattr("mmengine.dataset.sampler.get_dist_info", lambda rank=rank: (rank, 2))
        ranks.append(list(ViewSampler(dataset, seed=3)))
    assert [{*ranks[0][i : i + 1], *ranks[1][i : i + 1]} for i in range(3)] == [
        set(one[2 * i : 2 * i + 2]) for i in range(3)
    ]


def test_empty_samples_are_drawn_anew_under_the_view(loader):
    """Frame 1 has no object: with empty samples refused, each view replaces it, reproducibly."""
    strict = copy.deepcopy(loader)
    strict["dataset"]["dataset"]["filter_empty_gt"] = True
    strict["dataset"]["dataset"]["pipeline"] = [
        step for step in strict["dataset"]["dataset"]["pipeline"] if step["type"] != "ObjectSample"
    ]
    first, second = build(strict).dataset, build(strict).dataset
    second.sample(0)
    for view in range(3):
        a, b = first.sample(1, view), second.sample(1, view)
        assert len(a["data_samples"].gt_instances_3d.labels_3d)
        assert torch.equal(a["inputs"]["points"], b["inputs"]["points"])
        assert a["data_samples"].metainfo["view_index"] == 1


def test_random_states_are_restored_even_after_an_error():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    with contextlib.suppress(ZeroDivisionError), random_state(7, 8):
        inside = random.random(), np.random.rand(), torch.rand(1)
        _ = 1 / 0
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])
    with random_state(7, 8):
        assert inside == (random.random(), np.random.rand(), torch.rand(1))
    with random_state(8, 7):
        assert inside[0] != random.random()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (dict(sampler=dict(type="OtherSampler")), "train_dataloader.sampler: .* not OtherSampler"),
        (dict(num_batch_per_epoch=3), "num_batch_per_epoch: seeded data need whole epochs"),
    ],
)
def test_what_cannot_be_seeded_is_refused(loader, change, line):
    with pytest.raises(UserError, match=line):
        seeded_dataloader(loader | change)
    with pytest.raises(UserError, match="0 is no number of views"):
        seeded_dataloader(loader, views=0)
