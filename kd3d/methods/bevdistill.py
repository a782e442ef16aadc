"""BEVDistill: dense imitation near objects, sparse transfer at the teacher's boxes."""

from __future__ import annotations

from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from kd3d.adapters.objects import object_rows
from kd3d.core.card import MethodCard
from kd3d.core.context import Context
from kd3d.core.detection_targets import centre_codes, codes_of_cells
from kd3d.core.near_term import NearTerm
from kd3d.core.object_term import ObjectTerm
from kd3d.core.part_weights import part_weights
from kd3d.core.registry import METHODS, TERMS
from kd3d.core.score_map import ScoreMap
from kd3d.core.spec import FeatureSpec
from kd3d.core.teacher_boxes import boxes_tap, surest
from kd3d.core.term import Term, beside
from kd3d.errors import UserError, did_you_mean
from kd3d.losses import squared_error
from kd3d.losses.box.set_prediction import centre_head_code, match_cost, scored_code_error
from kd3d.losses.contrastive.info_nce import info_nce
from kd3d.losses.logit.class_rows import class_rows
from kd3d.losses.reduce import global_normaliser, masked_mean
from kd3d.losses.unit import unit_length

CARD = MethodCard(
    name="bevdistill",
    title="Z. Chen, Z. Li, S. Zhang, L. Fang, Q. Jiang, F. Zhao: BEVDistill: Cross-modal BEV "
    "distillation for multi-view 3D object detection",
    venue="ICLR 2023",
    paper="arXiv:2211.09386",
    idea="The student's map imitates the teacher's near objects; at the teacher's detections both "
    "models' features tell each other's counterpart from all others, and the student's boxes "
    "follow the teacher's as far as that is sure.",
    equation="L = a sum_i g_i |s_i - t_i|^2 / sum_i g_i - b mean_j log softmax_k(z_j^T . z_k^S / "
    "tau)_j + c sum_j w_j |b_j^S - b_j^T|_1 / sum_j w_j",
    source=("feature", "logit"),
    routes=("lidar to camera",),
    schemes=("offline", "self"),
    algorithm=("contrastive",),
    needs=("bev", "head", "boxes", "gt_boxes"),
    same=("centre_student",),
    status=("parity-tested",),
    differences=(
        "a student with a centre head; the authors' models are detection transformers. Their "
        "sparse places are the reference points of the student's queries, here the centres of the "
        "teacher's detections",
        "boxes: the student's box in the cell that holds the centre of the teacher's; the authors "
        "match queries and boxes by the Hungarian algorithm, which for a centre head may train a "
        "far cell (assignment='match' does it for its surest cells)",
        "boxes: a mean under the teacher's scores; the authors square the score in the numerator. "
        "Neither weighs by the overlap of both models' boxes, as the paper does",
        "dense: a mean over channels of a teacher that is standardised per channel, after a "
        "projection; the authors sum over the channels of raw maps. Without objects it is 0, in "
        "the authors' code NaN",
        "velocities are not compared",
        "weights 1, 0.2 and 0.25, not tuned; the authors' are 0.01, 0.2 and 0.25",
        "official_parity=True: the authors' sums, squared scores, matching and weights",
    ),
    zero_when_equal=False,
)
WEIGHTS = dict(dense=1.0, contrast=0.2, boxes=0.25)
OFFICIAL = WEIGHTS | dict(dense=0.01)
PLACES = ("truth", "prediction", "boxes", "all")
ASSIGNMENTS = ("cell", "match")


@METHODS.register_module()
def bevdistill(
    teacher: str = "teacher",
    weights: dict[str, float | dict | None] | None = None,
    tap: str = "bev",
    foreground: str = "truth",
    boxes: int = 50,
    assignment: str | None = None,
    official_parity: bool = False,
) -> list[dict[str, Any]]:
    """Return the terms of BEVDistill.

    Args:
        teacher: The teacher's name.
        weights: Weights (or schedules) of ``dense``, ``contrast``, ``boxes`` that differ from the
            usual ones; None leaves a term out.
        tap: Of both models.
        foreground: Where the dense term looks, see `DenseTerm`.
        boxes: The teacher's surest detections of a sample that count.
        assignment: See `BoxTransferTerm`; None: ``cell``, published ``match``.
        official_parity: The authors' forms and weights.
    """
    usual = OFFICIAL if official_parity else WEIGHTS
    assignment = assignment or ("match" if official_parity else "cell")
    kinds: dict[str, tuple[str, str, str, dict]] = {
        "dense": ("DenseTerm", tap, tap, dict(foreground=foreground)),
        "contrast": ("BoxContrastTerm", tap, tap, dict(boxes=boxes)),
        "boxes": ("BoxTransferTerm", "head", "boxes", dict(boxes=boxes, assignment=assignment)),
    }
    return [
        dict(
            type=kinds[part][0],
            name=part,
            student=f"student:{kinds[part][1]}",
            teacher=f"{teacher}:{kinds[part][2]}",
            weight=weight,
            official_parity=official_parity,
            **kinds[part][3],
        )
        for part, weight in part_weights(usual, weights, "bevdistill").items()
    ]


@TERMS.register_module()
class DenseTerm(NearTerm):
    """Imitation of a map where there are objects; see `bevdistill`.

    Args:
        *sides: See `NearTerm`.
        foreground: ``truth``: under the Gaussians of the ground truth; ``prediction``: under the
            student's own highest scores; ``boxes``: at the centres of the teacher's detections;
            ``all``: everywhere.
        min_radius: See `NearTerm`.
        **options: See `NearTerm`.
    """

    def __init__(
        self, *sides: Any, foreground: str = "truth", min_radius: int = 1, **options: Any
    ) -> None:
        super().__init__(*sides, min_radius=min_radius, **options)
        if foreground not in PLACES:
            hint = did_you_mean(foreground, PLACES)
            raise UserError(f"unknown foreground {foreground!r}", f"term {self.name}", hint)
        self.foreground = foreground
        self.address = {
            "prediction": f"{self.student_branch}:{beside(self.student_tap, 'head')}",
            "boxes": boxes_tap(self.teacher_branch, self.teacher_tap),
        }.get(foreground)

    def further(self) -> tuple[str, ...]:
        """Return the tap that says where to look, where that is not the ground truth."""
        return () if self.address is None else (self.address,)

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make the adapter, and align the student's scores where they count."""
        super().build(student, teacher)
        if self.foreground == "prediction":
            head = self.further_specs[self.further()[0]]
            self.scores = ScoreMap(head, student, f"term {self.name}")

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over cells or, for ``boxes``, over places."""
        if self.foreground != "boxes":
            return super().distance(student, teacher, context)
        ours, theirs, _ = self.maps(student, teacher)
        where = () if self.official else (self.spec,)
        found = surest(context.taps[self.further()[0]], 300, where, student.device)
        centres, extent = [one["boxes"][:, :2] for one in found], self.spec.grid[0]
        value = squared_error(
            *(object_rows(m, centres, extent, "zeros")[None] for m in (ours, theirs))
        )
        return masked_mean(value) if value.numel() else student.sum() * 0.0 + value.sum()

    def region(self, context: Context, device: torch.device) -> Tensor:
        """Return the (B, 1, H, W) weights of the student's cells."""
        if self.foreground == "truth":
            return super().region(context, device)
        if self.foreground == "all":
            return torch.ones((len(context.boxes), 1, *self.spec.grid[1]), device=device)
        return self.scores(context.taps[self.further()[0]])


@TERMS.register_module()
class BoxContrastTerm(ObjectTerm):
    """A place's features in one map are told from those of all other places; see `bevdistill`.

    Args:
        *sides: See `ObjectTerm`.
        boxes: The teacher's surest detections of a sample, at whose centres the maps are read.
        width: Of the projected features; the authors' 512.
        temperature: tau.
        official_parity: Places outside the maps count, too, where zeros are read.
        **options: See `ObjectTerm`.
    """

    fewest = 2

    def __init__(
        self,
        *sides: Any,
        boxes: int = 50,
        width: int = 128,
        temperature: float = 0.07,
        official_parity: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(*sides, **options)
        self.most, self.width, self.temperature = boxes, width, temperature
        self.official = official_parity
        self.address = boxes_tap(self.teacher_branch, self.teacher_tap)

    def further(self) -> tuple[str, ...]:
        """Return the teacher's detections."""
        return (self.address,)

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Make both projections, which are trained."""
        super().build(student, teacher)
        self.project = nn.ModuleDict(
            {
                side: nn.Sequential(
                    nn.Linear(spec.channels, self.width),
                    nn.Linear(self.width, self.width),
                    nn.BatchNorm1d(self.width),
                    nn.ReLU(),
                    nn.Linear(self.width, self.width),
                )
                for side, spec in (("student", student), ("teacher", teacher))
            }
        )

    def distance(self, student: Tensor, teacher: Tensor, context: Context) -> Tensor:
        """Return the mean over places of this process's batch; 0 for fewer than two."""
        where = () if self.official else self.specs
        found = surest(context.taps[self.address], self.most, where, student.device)
        centres = [one["boxes"][:, :2] for one in found]
        rows = [
            self.limited(object_rows(feature, centres, spec.grid[0], "zeros"))
            for feature, spec in zip((student, teacher), self.specs)
        ]
        if len(rows[0]) < 2:
            nothing = torch.stack([p.sum() for p in self.project.parameters()]).sum()
            return self.relations_mean(rows[0][:0], student) + nothing * 0.0
        ours, theirs = (
            unit_length(self.project[side](row), 1)
            for side, row in zip(("student", "teacher"), rows)
        )
        return self.relations_mean(info_nce(theirs, ours, self.temperature), student)


@TERMS.register_module()
class BoxTransferTerm(Term):
    """The student's boxes follow the teacher's detections; see `bevdistill`.

    Args:
        *sides: See `Term`; the student's head and the teacher's ``boxes``.
        boxes: The teacher's surest detections of a sample.
        assignment: Which of the student's boxes is a detection's: ``cell``: that of the detection's
            class in the cell of its centre; ``match``: one of the student's `cells` surest, by the
            lowest total cost over all detections.
        cells: For ``match``.
        official_parity: Scores squared in the numerator.
        **options: See `Term`.
    """

    def __init__(
        self,
        *sides: Any,
        boxes: int = 50,
        assignment: str = "cell",
        cells: int = 300,
        official_parity: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(*sides, **options)
        if assignment not in ASSIGNMENTS:
            hint = did_you_mean(assignment, ASSIGNMENTS)
            raise UserError(f"unknown assignment {assignment!r}", f"term {self.name}", hint)
        self.most, self.assignment, self.cells = boxes, assignment, cells
        self.power = 2 if official_parity else 1

    def build(self, student: FeatureSpec, teacher: FeatureSpec) -> None:
        """Refuse what is not a centre head, and not boxes."""
        if student.layout != "center_head" or teacher.layout != "boxes":
            where = f"term {self.name}"
            raise UserError(f"the student has {student}", where, "a student with a centre head")
        self.spec = student
        self.widths = [dict(task)["heatmap"] for task in student.maps]

    def distance(self, student: Any, teacher: Any, context: Context) -> Tensor:
        """Return the mean difference of matched boxes under the teacher's scores."""
        codes = torch.stack([centre_head_code(t[0], self.spec.grid[0]) for t in student], 1)
        logits = class_rows(student, "center_head")  # (B, N, K)
        chosen, targets, scores = [], [], []
        for i, found in enumerate(surest(teacher, self.most, (self.spec,), codes.device)):
            if self.assignment == "cell":
                mine, which = codes_of_cells(codes[i], self.widths, found, self.spec)
            else:
                mine, which = self._matched(codes[i], logits[i], found)
            chosen.append(mine)
            targets.append(centre_codes(found["boxes"])[which])
            scores.append(found["scores"][which])
        score = torch.cat(scores)
        value = scored_code_error(torch.cat(chosen), torch.cat(targets), score, self.power)
        return value.sum() / global_normaliser(score.sum(), minimum=1e-6) + codes.sum() * 0.0

    def _matched(
        self, codes: Tensor, logits: Tensor, found: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the codes (M, 8) that match boxes at the lowest total cost, and the indices."""
        best = torch.stack([g.amax(1) for g in logits.split(self.widths, 1)])  # (tasks, N)
        top = best.flatten().topk(min(self.cells, best.numel())).indices
        task, cell = top // best.shape[1], top % best.shape[1]
        candidates = codes.flatten(2)[task, :, cell]
        scores = logits.new_zeros(len(found["boxes"]), logits.shape[1])
        known = found["labels"] < logits.shape[1]
        scores[known, found["labels"][known]] = found["scores"][known]
        cost = match_cost(logits[cell], candidates, scores, centre_codes(found["boxes"]))
        mine, which = linear_sum_assignment(cost.detach().cpu().numpy())
        index = torch.as_tensor(which, device=codes.device)
        return candidates[torch.as_tensor(mine, device=codes.device)], index
