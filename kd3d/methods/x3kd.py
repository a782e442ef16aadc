"""X3KD: features, a discriminator and confident outputs of a teacher of another sensor."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.detection_targets import output_error
from kd3d.core.map_term import BevTerm
from kd3d.core.part_weights import part_weights
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.spec import FeatureSpec
from kd3d.core.teacher_boxes import surest
from kd3d.core.term import Term
from kd3d.errors import UserError
from kd3d.losses.adversarial.reversal import domain_entropy, reversed_gradient

CARD = MethodCard(
    name="x3kd",
    title="M. Klingner, S. Borse, V. R. Kumar, B. Rezaei, V. Narayanan, S. Yogamani, F. Porikli: "
    "X3KD: Knowledge distillation across modalities, tasks and stages for multi-camera 3D object "
    "detection, without its segmentation teacher",
    venue="CVPR 2023",
    paper="arXiv:2303.02203",
    idea="The student's map imitates the teacher's (X-FD) and is to deceive a discriminator that "
    "tells the two models' maps apart (X-AT); its head is trained on the teacher's confident "
    "detections as soft labels (X-OD).",
    equation="L = a mean |s - t| + b max_D-min_s [log D(t) + log (1 - D(s))] + c [QFL(s, "
    "max_o w_o g_o) + d sum_o w_o |b_o^S - b_o^T|_1 / sum_o w_o], o: detections of score w_o > tau",
    source=("feature", "logit"),
    routes=("lidar to camera",),
    schemes=("offline", "self"),
    algorithm=("adversarial", "cross-modal"),
    needs=("bev", "head", "boxes"),
    same=("centre_student",),
    status=("formula-tested",),
    differences=(
        "the authors have released no code: the three terms follow the paper's text, widths, "
        "thresholds and weights are ours",
        "X-IS, which trains an auxiliary segmentation head on the images with pseudo-labels of a "
        "two-dimensional network, is left out",
        "the discriminator and the student take turns within one step, by a reversed gradient",
        "the teacher's map is standardised per channel, and the student projected",
        "official_parity=True changes nothing: there is nothing to compare with",
    ),
    zero_when_equal=False,
)
USUAL = dict(features=1.0, adversarial=0.1, output=0.5)


@METHODS.register_module()
def x3kd(
    teacher: str = "teacher",
    weights: dict[str, float | dict | None] | None = None,
    tap: str = "bev",
    boxes: float = 0.25,
    threshold: float = 0.3,
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the terms of X3KD.

    Args:
        teacher: The teacher's name.
        weights: Weights (or schedules) of ``features``, ``adversarial``, ``output`` that differ
            from the usual ones; None leaves a term out.
        tap: Of both models' maps.
        boxes: Weight of the output's box part, relative to its scores.
        threshold: Score from which a detection of the teacher is a label.
        official_parity: Accepted for uniformity; changes nothing.
    """
    maps = (f"student:{tap}", f"{teacher}:{tap}")
    adapter = dict(projection="always")
    kinds: dict[str, tuple[str, tuple[str, str], dict]] = {
        "features": (
            "FeatureTerm",
            maps,
            dict(loss="absolute_error", adapter=adapter, normalise_teacher=True),
        ),
        "adversarial": ("AdversarialTerm", maps, {}),
        "output": (
            "ConfidentOutputTerm",
            ("student:head", f"{teacher}:boxes"),
            dict(box_weight=boxes, threshold=threshold),
        ),
    }
    return [
        dict(
            type=kinds[part][0],
            name=part,
            student=kinds[part][1][0],
            teacher=kinds[part][1][1],
            weight=weight,
            **kinds[part][2],
        )
        for part, weight in part_weights(USUAL, weights, "x3kd").items()
    ]


@TERMS.register_module()
class AdversarialTerm(BevTerm):
    """A map that is to deceive a discriminator (X-AT); see `x3kd`.

    The discriminator looks at 5 x 5 cells. It is trained by the same loss, whose gradient turns
    before it reaches the student, and is no part of the detector.

    Args:
        *sides: See `BevTerm`.
        width: Of the discriminator.
        strength: Of the reversed gradient.
        **options: See `BevTerm`.
    """

    def __init__(self, *sides: Any, width: int = 64, strength: float = 1.0, **options: Any) -> None:
        super().__init__(*sides, **options)
        self.width, self.strength = width, strength

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the adapter and the discriminator."""
        super().build(student, teacher)
        self.discriminator = nn.Sequential(
            nn.Conv2d(teacher.channels, self.width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(self.width, self.width, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(self.width, 1, 1),
        )

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean cross-entropy of the discriminator."""
        ours, theirs, valid = self.maps(student, teacher)
        if valid is not None:  # the border of what the teacher covers must not give it away
            ours, theirs = ours * valid, theirs * valid
        ours = reversed_gradient(ours, self.strength)
        logits = [self.discriminator(feature)[:, 0] for feature in (ours, theirs)]
        return self.mean(domain_entropy(*logits), context, valid)


@TERMS.register_module()
class ConfidentOutputTerm(Term):
    """A centre head trained on the teacher's confident detections (X-OD); see `x3kd`.

    Args:
        *sides: See `Term`; the student's head and the teacher's ``boxes``.
        box_weight: Weight of the boxes, relative to the scores.
        threshold: Score from which a detection counts.
        most: Detections of a sample, the surest.
        **options: See `Term`.
    """

    def __init__(
        self,
        *sides: Any,
        box_weight: float = 0.25,
        threshold: float = 0.3,
        most: int = 300,
        **options: Any,
    ) -> None:
        super().__init__(*sides, **options)
        self.box_weight, self.threshold, self.most = box_weight, threshold, most

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Refuse what is not a centre head, and not boxes."""
        if student.layout != "center_head" or teacher.layout != "boxes":
            where = f"term {self.name}"
            raise UserError(f"the student has {student}", where, "a student with a centre head")
        self.spec = student
        self.widths = [dict(task)["heatmap"] for task in student.maps]

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return scores + box_weight * boxes."""
        device = student[0][0]["heatmap"].device
        sure = surest(teacher, self.most, (self.spec,), device)
        sure = [
            {
                k: v[(one["scores"] > self.threshold) & (one["labels"] < sum(self.widths))]
                for k, v in one.items()
            }
            for one in sure
        ]
        return output_error(student, sure, self.spec, self.widths, self.box_weight)
