"""Taps: named, captured once, never stolen, never stale."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from kd3d.core.taps import StopForward, TapSet, resolve
from kd3d.errors import UserError
from kd3d.models.source import build_detector
from tests import toy


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 5)
        self.mode = "plain"

    def forward(self, x):
        x = self.first(x)
        if self.mode == "in place":
            x = x * 1.0 if not x.requires_grad else x
            torch.relu_(x.detach())
        if self.mode == "twice":
            self.first(torch.zeros(1, 3))
        return self.second(x)


def test_value_and_gradient_come_through():
    net = Net()
    taps = TapSet(net, ["first"])
    taps.arm()
    net(torch.ones(2, 3))
    value = taps.pop(needs_grad=True)["first"]
    assert torch.equal(value, net.first(torch.ones(2, 3)))
    value.sum().backward()
    assert net.first.weight.grad is not None


@pytest.mark.parametrize("mode, message", [("twice", "fired 2 times"), ("in place", "in place")])
def test_misuse_is_named(mode, message):
    net = Net()
    net.mode = mode
    taps = TapSet(net, ["first"])
    taps.arm()
    net(torch.ones(2, 3))
    with pytest.raises(UserError, match=message):
        taps.pop()


def test_clone_keeps_the_value_before_an_in_place_change():
    net = Net()
    net.mode = "in place"
    taps = TapSet(net, ["first+clone"])
    taps.arm()
    net(torch.ones(2, 3))
    assert torch.equal(taps.pop()["first+clone"], net.first(torch.ones(2, 3)))


def test_missing_gradient_and_missing_fire_are_named():
    net = Net()
    taps = TapSet(net, ["first"])
    taps.arm()
    with torch.no_grad():
        net(torch.ones(2, 3))
    with pytest.raises(UserError, match="no gradient"):
        taps.pop(needs_grad=True)
    taps.arm()
    with pytest.raises(UserError, match="fired 0 times"):
        taps.pop()


def test_recomputation_of_a_checkpointed_block_does_not_fire():
    net = Net()
    taps = TapSet(net, ["first"])
    taps.arm()
    output = checkpoint(net, torch.ones(2, 3, requires_grad=True), use_reentrant=False)
    value = taps.pop(needs_grad=True)["first"]
    (output.sum() + value.sum()).backward()
    assert taps.taps["first"].values == []


def test_copy_of_the_model_does_not_steal():
    net = Net()
    holder = nn.Module()
    holder.net, holder.taps = net, TapSet(net, ["first"])
    other = copy.deepcopy(holder)
    holder.taps.arm()
    other.taps.arm()
    holder.net(torch.ones(2, 3))
    other.net(torch.zeros(2, 3))
    assert torch.equal(holder.taps.pop()["first"], net.first(torch.ones(2, 3)))
    assert torch.equal(other.taps.pop()["first"], other.net.first(torch.zeros(2, 3)))


def test_teacher_stops_at_its_last_tap():
    net = Net()
    calls = []
    net.second.register_forward_hook(lambda *_: calls.append(1))
    taps = TapSet(net, ["first"], stop=True)
    taps.arm()
    with pytest.raises(StopForward):
        net(torch.ones(2, 3))
    assert not calls


@pytest.mark.parametrize("family, bev", [("centerpoint", "pts_neck"), ("pointpillars", "neck")])
def test_aliases_and_near_names(family, bev):
    model = build_detector(toy.FAMILIES[family]())
    assert (resolve(model, "bev").module, resolve(model, "bev").index) == (bev, ("0",))
    assert resolve(model, "head").clone
    assert resolve(model, f"{bev}.deblocks.0").index == ()
    with pytest.raises(UserError, match="did you mean"):
        resolve(model, "nek")
    with pytest.raises(UserError, match="bev"):
        resolve(model, "bve")


def test_wrong_index_says_what_the_output_is():
    net = Net()
    taps = TapSet(net, ["first.7"])
    taps.arm()
    with pytest.raises(UserError, match=r"no \[7\]|has no"):
        net(torch.ones(2, 3))
