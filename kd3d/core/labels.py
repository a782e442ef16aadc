"""Label distillation: a teacher's boxes join the ground truth that a learner is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kd3d.core.branches import STUDENT
from kd3d.core.labelled import FLAG
from kd3d.core.registry import LABELS
from kd3d.core.taps import BOXES
from kd3d.errors import UserError
from kd3d.masks.overlap import bev_overlap, suppressed

FIRST = ("truth", "teacher")
FRAMES = ("all", "unlabelled")
_FIELDS = {"bboxes_3d", "labels_3d"}


@dataclass
class Joined:
    """A learner's labels of one batch.

    Attributes:
        samples: New data samples whose ``gt_instances_3d`` are the joined boxes.
        boxes: A sample's (N, 7) boxes.
        labels: A sample's (N,) classes.
        velocities: A sample's (N, 2) velocities in metres a second, 0 where unknown.
        added: Teacher boxes among them, a number a sample.
    """

    samples: list[Any]
    boxes: list[Tensor]
    labels: list[Tensor]
    velocities: list[Tensor]
    added: list[int]


@LABELS.register_module()
class TeacherLabels:
    """Joins a teacher's detections with the ground truth before a learner's detection loss.

    The detector and its loss are the stock ones: they get new data samples. No other model sees
    them, and terms go on to read the ground truth unless they are named in `terms`. A sample
    without labels (no ``gt_instances_3d``, or ``labelled=False`` in its metainfo) has the teacher's
    boxes alone, and counts in the detection loss like the others.
    Detections that are not finite or have no size are left out.

    Args:
        teacher: The teacher, any but a peer, or ``"<ensemble>:<member>/boxes"``.
        learner: Whose labels: ``student`` or a peer.
        name: Key in logs; unique in the distiller.
        score: A detection must score more; one number, or one a class in label order.
        duplicate: Leave out a detection that overlaps a box of the ground truth of its own class by
            more than this (intersection over union from above); None keeps them.
        suppress: Overlap from which the lower of two detections of one class is left out; None: the
            teacher's head has done it as its ``test_cfg`` says.
        limit: Most detections a sample, the best ones.
        first: Which come first, ``teacher`` or ``truth``: a head that takes so many objects and no
            more (``max_objs``) drops the last.
        frames: ``all``, or only those that are ``unlabelled``.
        terms: Names of terms of this learner whose foreground is to be the joined boxes.

    Raises:
        UserError: An unknown option.
    """

    def __init__(
        self,
        teacher: str = "teacher",
        learner: str = STUDENT,
        name: str = "labels",
        score: float | Sequence[float] = 0.6,
        duplicate: float | None = 0.1,
        suppress: float | None = None,
        limit: int = 500,
        first: str = "truth",
        frames: str = "all",
        terms: Sequence[str] = (),
    ) -> None:
        where = f"labels {name}"
        for key, value, known in (("first", first, FIRST), ("frames", frames, FRAMES)):
            if value not in known:
                raise UserError(f"unknown {key} {value!r}", where, " or ".join(known))
        if limit < 1 or isinstance(terms, str):
            raise UserError(f"limit={limit}, terms={terms!r}", where, "limit >= 1, a list of names")
        branch, _, tap = teacher.partition(":")
        self.teacher_branch, self.teacher_tap = branch, tap or BOXES
        if self.teacher_tap.rsplit("/", 1)[-1] != BOXES:
            raise UserError(f"{teacher!r} are no boxes", where, "<ensemble>:<member>/boxes")
        self.learner, self.name, self.score = learner, name, score
        self.duplicate, self.suppress, self.limit = duplicate, suppress, limit
        self.first, self.frames, self.terms = first, frames, tuple(terms)

    needs_detector = False  # see `kd3d.core.term.Term`

    def reads(self) -> None:
        """All of the tap; see `kd3d.core.term.Term.reads`."""

    def further(self) -> tuple[str, ...]:
        """No other taps; see `kd3d.core.term.Term.further`."""
        return ()

    def joined(
        self, samples: list[Any], found: list[dict[str, Tensor]], size: int | None
    ) -> Joined:
        """Return the learner's labels of one batch; the samples given are not changed.

        Args:
            samples: The learner's data samples.
            found: The teacher's detections, see `kd3d.core.run.decode_boxes`.
            size: Values of a box that the learner's head is trained on; None: as the teacher's.

        Raises:
            UserError: A class without a threshold, or ground truth with more than boxes and
                classes, which the teacher cannot give.
        """
        made = Joined([], [], [], [], [])
        for sample, one in zip(samples, found):
            truth = truth_of(sample)
            boxes, labels = self._chosen(one)
            if truth is None:
                size = size or boxes.shape[1]
                truth = boxes.new_zeros((0, size)), labels[:0]
            elif self.frames == "unlabelled":
                boxes, labels = boxes[:0], labels[:0]
            boxes, labels, added = self.join(boxes, labels, *truth)
            made.samples.append(_relabelled(sample, boxes, labels, f"labels {self.name}"))
            made.boxes.append(boxes[:, :7])
            made.labels.append(labels)
            made.velocities.append(velocities_of(boxes))
            made.added.append(added)
        return made

    def _chosen(self, found: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the detections that are confident enough, best first where there are too many."""
        boxes, scores, labels = found["boxes"].float(), found["scores"], found["labels"].long()
        keep = scores > self._thresholds(labels).to(scores)
        keep &= boxes.isfinite().all(1) & (boxes[:, 3:6] > 0).all(1)
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        if self.suppress is not None:
            keep = suppressed(boxes, scores, labels, self.suppress)
            boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        if len(boxes) > self.limit:
            best = scores.topk(self.limit).indices
            boxes, labels = boxes[best], labels[best]
        return boxes, labels

    def _thresholds(self, labels: Tensor) -> Tensor:
        if not isinstance(self.score, Sequence):
            return torch.full(labels.shape, float(self.score), device=labels.device)
        if len(labels) and int(labels.max()) >= len(self.score):
            raise UserError(
                f"{len(self.score)} thresholds, but the teacher finds class {int(labels.max())}",
                f"labels {self.name}",
                "score=<one number>, or one a class",
            )
        return torch.tensor(self.score, device=labels.device)[labels]

    def join(
        self, boxes: Tensor, labels: Tensor, truth: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor, int]:
        """Return the joined boxes, their classes, and how many are the teacher's.

        Args:
            boxes: (N, 7 or 9) detections.
            labels: (N,) their classes.
            truth: (M, D) ground truth; the result has its number of values, zeros for velocities
                that the teacher does not give.
            classes: (M,).
        """
        boxes, labels = boxes.to(truth), labels.to(classes)
        if self.duplicate is not None and len(truth) and len(boxes):
            alike = labels[:, None] == classes
            keep = ~((bev_overlap(boxes, truth) > self.duplicate) & alike).any(1)
            boxes, labels = boxes[keep], labels[keep]
        width, missing = truth.shape[1], truth.shape[1] - boxes.shape[1]
        if missing > 0:
            boxes = torch.cat([boxes, boxes.new_zeros(len(boxes), missing)], 1)
        parts = [(boxes[:, :width], labels), (truth, classes)]
        ordered = parts if self.first == "teacher" else parts[::-1]
        joined, named = (torch.cat(column) for column in zip(*ordered))
        return joined, named, len(boxes)


def join_labels(
    sources: list[TeacherLabels],
    model: Any,
    samples: list[Any],
    features: dict[str, dict[str, Any]],
    context: Any,
) -> tuple[list[Any], dict[str, Tensor]]:
    """Return a learner's samples with teachers' boxes, and what is logged of them.

    Args:
        sources: Its label sources, which join one after the other.
        model: Its detector.
        samples: Its data samples; not changed.
        features: Teacher -> tap -> value.
        context: Gets the labels that the learner is trained on.
    """
    shown = {}
    for source in sources:
        found = features[source.teacher_branch][source.teacher_tap]
        joined = source.joined(samples, found, box_size(model))
        context.joined[source.learner], samples = joined, joined.samples
        count = joined.boxes[0].new_tensor(joined.added, dtype=torch.float32)
        shown[f"kd.{source.name}.boxes"] = count.mean()
    return samples, shown


def truth_of(sample: Any) -> tuple[Tensor, Tensor] | None:
    """Return a data sample's ground truth, boxes (N, D) and classes (N,); None: it has none."""
    truth = getattr(sample, "gt_instances_3d", None)
    if truth is None or "bboxes_3d" not in truth or not sample.metainfo.get(FLAG, True):
        return None
    return truth.bboxes_3d.tensor, truth.labels_3d


def velocities_of(boxes: Tensor) -> Tensor:
    """Return the (N, 2) velocities in boxes (N, 7 or 9), 0 where they have none or it is NaN."""
    if boxes.shape[1] < 9:
        return torch.zeros_like(boxes[:, :2])
    return boxes[:, 7:9].nan_to_num()


def box_size(model: Any) -> int | None:
    """Return how many values a box has that a detector's head is trained on; None: unknown."""
    head = getattr(model, "pts_bbox_head", None) or getattr(model, "bbox_head", None)
    return getattr(getattr(head, "bbox_coder", None), "code_size", None)


def _relabelled(sample: Any, boxes: Tensor, labels: Tensor, where: str) -> Any:
    """Return a new data sample with these labels."""
    from mmengine.structures import InstanceData

    truth = getattr(sample, "gt_instances_3d", None)
    more = set() if truth is None else set(truth.keys()) - _FIELDS
    if more:
        raise UserError(
            f"the ground truth also holds {sorted(more)}, which a teacher's boxes lack",
            where,
            "pack boxes and classes only",
        )
    made = sample.new()
    kind = sample.metainfo["box_type_3d"]
    instances = InstanceData(bboxes_3d=kind(boxes, box_dim=boxes.shape[1]), labels_3d=labels)
    made.gt_instances_3d = instances
    made.set_metainfo({FLAG: True})
    return made
