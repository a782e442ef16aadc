"""A model of two layers with a task and two terms, balanced as the distiller does it."""

from types import SimpleNamespace

import torch
from torch import nn

from kd3d.core.balance import BALANCES
from kd3d.core.gradients import TermStep
from kd3d.core.schedules import build_schedule

TERMS = {"a": 2.0, "b": 0.5}
SETTINGS = [
    dict(type="GradientRatio", ratio=0.4, interval=2),
    dict(type="Uncertainty"),
    dict(type="GradNorm", alpha=0.7),
    dict(type="DWA", window=2),
]


class Toy(nn.Module):
    """A trunk that a task and two terms share; term b is `scale` times as large."""

    def __init__(self, balance, weights=TERMS, scale=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh())
        self.head = nn.Linear(4, 1)
        self.schedules = {name: build_schedule(w) for name, w in weights.items()}
        terms = {
            name: SimpleNamespace(schedule=s, student_branch="student")
            for name, s in self.schedules.items()
        }
        self.scale = scale
        self.balance = BALANCES.build(dict(balance, terms=terms))

    def parts(self, x):
        feature = self.trunk(x)
        task = (self.head(feature) - x[:, :1]).square().mean()
        a = (feature - x[:, :4].tanh()).square().mean()
        b = self.scale * (feature - x[:, 1:].sin()).abs().mean()
        return feature, task, {"a": a, "b": b}

    def forward(self, x, progress=0.0):
        """Return the losses as the distiller does, and the steps."""
        feature, task, values = self.parts(x)
        steps = {
            name: TermStep(
                value, torch.tensor(self.schedules[name](progress)), feature, None, "student"
            )
            for name, value in values.items()
        }
        losses, tasks = {"task.loss": task}, {"student": task}
        self.balance.apply_to(losses, tasks, steps)
        assert tasks["student"] == losses["task.loss"]
        for name, step in steps.items():
            losses[f"kd.{name}.loss"] = step.value * step.weight
        return losses, steps


def batch(seed, n=16):
    return torch.randn((n, 5), generator=torch.Generator().manual_seed(seed))


def total(losses):
    return sum(value for key, value in losses.items() if key.endswith("loss"))


def train(model, seeds, optimizer=None):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for seed in seeds:
        optimizer.zero_grad()
        total(model(batch(seed))[0]).backward()
        optimizer.step()
    return optimizer
