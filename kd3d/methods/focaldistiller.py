"""FocalDistiller, its released form: image features channel by channel, the map near objects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.near_term import NearTerm
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.errors import UserError

CARD = MethodCard(
    name="focaldistiller",
    title="J. Zeng, L. Chen, H. Deng, L. Lu, J. Yan, Y. Qiao, H. Li: Distilling focal knowledge "
    "from imperfect expert for 3D object detection (FD3D), its released heat map form",
    venue="CVPR 2023",
    paper="https://github.com/OpenDriveLab/Birds-eye-view-Perception",
    idea="A large camera model teaches a smaller one only where knowledge is focal: on the map "
    "near objects; image features follow channel by channel.",
    equation="L = a sum_i g_i |s_i - t_i|^2 / sum_i g_i [+ b mean KL(softmax_i(t_c) || "
    "softmax_i(s_c)) over image levels]",
    source=("feature",),
    routes=("camera to camera",),
    schemes=("offline", "online", "self"),
    algorithm=("attention",),
    needs=("bev", "gt_boxes"),
    status=("parity-tested",),
    differences=(
        "the paper's learned queries, which locate and refine regions, are not released and not "
        "built; objects are found by the ground truth's Gaussians, as in the authors' code",
        "image features are compared where images names taps; both models then see images of one "
        "size and levels of one stride. The teacher's entropy is left in, so that equal models "
        "have no loss; gradients are the same",
        "mean over channels of a teacher that is standardised per channel, on the student's cells; "
        "the authors sum over channels of raw maps on the teacher's cells, to which trained layers "
        "lift the student, and multiply both maps by the mask. Without objects it is 0, there NaN",
        "the student's head does not start as the teacher's (see model.inherit)",
        "weights 1 and 0.25, not tuned; the authors' are 0.1 and 0.25",
        "official_parity=True: the authors' sums, cells and weights",
    ),
    zero_when_equal=False,
)


@METHODS.register_module()
def focaldistiller(
    teacher: str = "teacher",
    weight: float | dict | None = None,
    tap: str = "bev",
    images: Sequence[str] = (),
    image_weight: float | dict = 0.25,
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the terms of FocalDistiller.

    Args:
        teacher: The teacher's name.
        weight: Number or schedule of the map's term; None: 1, published 0.1.
        tap: Of both models' maps.
        images: Taps of both models' image features, such as ``img_neck.0``.
        image_weight: Of each of these terms.
        official_parity: The authors' forms and weights.
    """
    usual = 0.1 if official_parity else 1.0
    made: list[dict[str, Any]] = [
        dict(
            type="FocalMapTerm",
            name="near",
            student=f"student:{tap}",
            teacher=f"{teacher}:{tap}",
            weight=usual if weight is None else weight,
            official_parity=official_parity,
        )
    ]
    for i, image in enumerate(images):
        made.append(
            dict(
                type="ChannelWiseTerm",
                name=f"image{i or ''}",
                student=f"student:{image}",
                teacher=f"{teacher}:{image}",
                weight=image_weight,
                temperature=2.0,
                adapter=dict(projection="auto" if official_parity else "always"),
                normalise_teacher=not official_parity,
            )
        )
    return made


@TERMS.register_module()
class FocalMapTerm(NearTerm):
    """Imitation near objects, in the published form on the teacher's cells; see the card."""

    twice = True

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the adapter or, in the published form, the way up to the teacher's cells."""
        if not self.official:
            return super().build(student, teacher)
        own, theirs = student.grid[1], teacher.grid[1]
        times = theirs[0] / own[0]
        steps = round(math.log2(times))
        places = zip(student.grid[0], teacher.grid[0])
        apart = max(abs(one - other) for one, other in places)  # metres
        if times != 2**steps or theirs[1] / own[1] != times or apart > 1e-3:
            where, hint = f"term {self.name}", "leave official_parity out"
            raise UserError(f"the student has {student}, the teacher {teacher}", where, hint)
        super().build(replace(student, shape=teacher.shape), teacher)
        self.spec, self.goal = student, theirs
        width = student.channels
        self.restore = nn.Sequential()
        for _ in range(steps):
            lift = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False)
            self.restore.extend([lift, nn.BatchNorm2d(width), nn.ReLU()])
        if steps:
            self.restore.append(nn.Conv2d(width, width, 3, padding=1))

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean near objects."""
        if self.official:
            student = self.restore(student)
        return super().distance(student, teacher, context)

    def region(self, context: Context, device: torch.device) -> Tensor:
        """Return the (B, 1, H, W) Gaussians; in the published form enlarged cell by cell."""
        found = super().region(context, device)
        return F.interpolate(found, self.goal, mode="nearest") if self.official else found
