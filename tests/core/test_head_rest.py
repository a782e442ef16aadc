"""What comes after a point in a head: the head's own output, with parameters as constants."""

import copy

import pytest
import torch
from torch import nn

from kd3d.core.head_rest import BRANCHES, MID, HeadRest
from kd3d.core.run import run_until_taps
from kd3d.core.taps import TapSet, aliases, groups, head_of
from kd3d.errors import UserError
from kd3d.models.source import build_detector
from kd3d.models.tiny import FAMILIES, batch

CASES = [(family, MID) for family in FAMILIES if family != "pointrcnn"] + [
    ("centerpoint", BRANCHES)
]


def flat(value):
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value
    return [tensor for item in items for tensor in flat(item)]


@pytest.mark.parametrize("family, point", CASES)
@pytest.mark.parametrize("training", [False, True])
def test_rest_of_a_head_gives_what_the_head_gave(family, point, training):
    model = build_detector(FAMILIES[family]()).train(training)
    taps = TapSet(model, [f"{point},head"], stop=True)
    data = model.data_preprocessor(batch(), True)
    with torch.no_grad():
        found = run_until_taps(model, taps, data["inputs"], data["data_samples"])
    *features, output = found[f"{point},head"]
    if point == BRANCHES:
        output = [[{k: v for k, v in task.items() if k != "vel"}] for (task,) in output]
    features = [feature.clone().requires_grad_() for feature in features]
    buffers = copy.deepcopy(dict(model.named_buffers()))
    again = HeadRest(head_of(model), point, "test")(features)
    assert [t.shape for t in flat(again)] == [t.shape for t in flat(output)]
    for ours, theirs in zip(flat(again), flat(output)):
        torch.testing.assert_close(ours, theirs)
    sum(t.square().sum() for t in flat(again)).backward()
    assert all(f.grad.abs().sum() > 0 for f in features)
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(b, buffers[n]) for n, b in model.named_buffers())


def test_other_heads_and_points_are_refused():
    with pytest.raises(UserError, match="Linear has no head_mid"):
        HeadRest(nn.Linear(2, 2), MID, "test")
    anchors = build_detector(FAMILIES["pointpillars"]())
    with pytest.raises(UserError, match="head_branches"):
        HeadRest(head_of(anchors), BRANCHES, "test")
    with pytest.raises(UserError, match="no tap 'head_branches'"):
        TapSet(anchors, ["head_branches,head"])


def test_several_taps_are_a_list_with_the_spec_of_each():
    from kd3d.core.probe import probe

    model = build_detector(FAMILIES["second"]())
    assert groups(model)["stages"] == ["stage0", "stage1"]
    assert not {"stage2", "pillars"} & set(aliases(model))  # its voxels have no learned features
    taps = TapSet(model, ["stages", "bev, stage0", "bev"], stop=True)
    assert list(taps.taps) == ["stage0", "stage1", "bev"]
    probe(model, taps)
    assert [spec.shape for spec in taps.specs["stages"].each] == [(16, 24), (8, 12)]
    assert taps.specs["bev, stage0"].each[0] == taps.specs["bev"]
    data = model.data_preprocessor(batch(box_dim=7), True)
    found = run_until_taps(model, taps, data["inputs"], data["data_samples"])
    assert found["stages"][0] is found["bev, stage0"][1]
    assert isinstance(found["bev"], torch.Tensor)
