"""Do a config's data fit its models? One verdict a question."""

from __future__ import annotations

from mmengine.config import Config

from kd3d.doctor import FAIL, OK, WARN, Verdict
from kd3d.errors import UserError
from kd3d.inspection.box_checks import check_anchors, check_points, check_range
from kd3d.inspection.detectors import detectors
from kd3d.inspection.perfect import check_perfect
from kd3d.inspection.raw_data import raw_dataset, raw_frames
from kd3d.inspection.step import look
from kd3d.inspection.trial import build_distiller, first_batches
from kd3d.models.source import build_detector, resolve_detector

FRAMES = 100


def examine_data(config: Config, frames: int = FRAMES) -> list[Verdict]:
    """Return the verdicts on a config's data.

    Args:
        config: See `kd3d.engine.runner.load_config`.
        frames: Most training frames looked at, evenly spread.

    Raises:
        UserError: The data are not there.
    """
    dataset = raw_dataset(config)
    found = list(raw_frames(dataset, frames))
    classes = list(dataset.metainfo["classes"])
    verdicts = []
    for name, detector in detectors(config).items():
        model, stock = build_detector(detector, name), resolve_detector(detector)
        for verdict in (
            check_range(found, model, classes),
            check_anchors(found, model, stock, classes),
        ):
            verdicts.append(Verdict(f"{name}: {verdict.layer}", *_rest(verdict)))
    verdicts.append(check_points(found, classes))
    verdicts.append(check_perfect(config))
    try:
        return [*verdicts, *_masks(config)]
    except UserError as error:
        return [*verdicts, Verdict("cells of the masks", FAIL, str(error), "mend what fails above")]


def _rest(verdict: Verdict) -> tuple[str, str, str]:
    return verdict.status, verdict.detail, verdict.fix


def _masks(config: Config) -> list[Verdict]:
    """Say which share of its cells each term reads in the first two batches.

    Teachers have random weights here: shares that depend on what a teacher is sure of are not
    told.
    """
    if not (config.model.get("method") or config.model.get("terms")):
        return []
    batches = first_batches(config)
    distiller = build_distiller(config, untrained=True)
    optimizer = _Idle()
    shares: dict[str, list[float]] = {}
    objects = 0
    for batch in batches:
        seen = look(distiller, batch, optimizer).monitor  # type: ignore[arg-type]
        objects += seen.boxes
        for name, report in seen.terms.items():
            term = distiller.terms[name]
            if report.coverage is not None and getattr(term, "mask_options", None) is not None:
                shares.setdefault(name, []).append(report.coverage)
    found = []
    for name in distiller.terms:
        covered = shares.get(name)
        layer = f"cells of {name}"
        if covered is None:
            found.append(Verdict(layer, OK, "no mask of labels: all cells, or the teacher's"))
            continue
        told = f"{min(covered):.2%} to {max(covered):.2%} in two batches of {objects} boxes"
        status = OK if max(covered) > 0 else FAIL if objects else WARN
        fix = "the mask covers nothing: do the boxes lie in the map's range?"
        found.append(Verdict(layer, status, told, fix * (status != OK)))
    return found


class _Idle:
    """An optimizer that leaves everything as it is."""

    def step(self) -> None:
        """Do nothing."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Do nothing."""
