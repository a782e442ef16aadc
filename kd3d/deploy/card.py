"""The model card that lies beside an exported model."""

from __future__ import annotations

from typing import Any

from kd3d.console import digits
from kd3d.deploy.convert import OPSET
from kd3d.deploy.graphs import Part
from kd3d.deploy.parity import NEAR_M, NEAR_SCORE
from kd3d.deploy.refusals import CAMERAS, PILLARS
from kd3d.engine.scoring import headline

_PILLAR_STEPS = """\
1. `runtime/pillars.py`: points outside `range` are dropped, the others sorted into pillars of
   `voxel_size`, at most `max_pillars`, in the order of their first point, with their first
   `max_points` points; each point gets its offsets from its pillar's mean point and middle.
2. Graph `model`: pillar network, scatter to the map (ScatterND, in the graph), backbone, neck and
   head.
3. `runtime/boxes.py`: decoding and suppression of overlaps."""
_CAMERA_STEPS = """\
1. `runtime/images.py`: each image is scaled to the width of `size`, its lower part kept, channels
   ordered, values normalised, the edge padded.
2. Graph `image`: backbone, neck, depth network; a camera is one row of the batch.
3. `runtime/lift.py`: depth times features is summed into the cells of a map (and, with
   `lift.mean_smoothing` in `model.json`, divided by the depth's sum plus this number); which pixel
   and depth belong to which cell depends on the calibration alone and is computed once.
4. Graph `bev`: backbone, neck and head on the map.
5. `runtime/boxes.py`: decoding and suppression of overlaps."""
_FLOAT = {PILLARS: ", the pillar network in float32", CAMERAS: ""}
_USE = {
    PILLARS: """\
    from runtime.detector import Detector
    found = Detector(".").detect_points(points)      # (N, {values}) float32""",
    CAMERAS: """\
    from runtime.detector import Detector
    found = Detector(".").detect_images(images, lidar2cam, cam2img)   # uint8 BGR, 4x4, 3x3 each""",
}


def model_card(spec: dict[str, Any], parts: list[Part], report: dict[str, Any], name: str) -> str:
    """Return the card as Markdown.

    Args:
        spec: ``model.json``.
        parts: The graphs.
        report: ``report.json``: provenance, parity, latency, int8.
        name: Of the model.
    """
    use = _USE[spec["kind"]].format(values=spec["preprocess"].get("point_values"))
    if report["format"] == "onnx":
        need = f"numpy and onnxruntime{', and OpenCV' if spec['kind'] == CAMERAS else ''}"
    else:
        need = "numpy and torch"
    steps = _CAMERA_STEPS if spec["kind"] == CAMERAS else _PILLAR_STEPS
    form = f"ONNX, opset {OPSET}" if report["format"] == "onnx" else "TorchScript"
    sections = [
        f"# {name}",
        f"A detector of {', '.join(spec['classes'])}, exported by kd3d ({form}). "
        f"It runs with {need}; neither kd3d nor mmdet3d is needed. "
        + ("" if report["format"] == "torchscript" else "Torch is not needed either."),
        f"## Use\n\n{use}\n\n`found` has `boxes` (N, {7 + 2 * _velocity(parts)}): x, y, z of the "
        "bottom's middle, length along the heading, width, height in metres, yaw in radians "
        "counter-clockwise from x" + (", vx, vy in m/s" if _velocity(parts) else "") + ", in the "
        "LiDAR's frame; `scores`; `labels`, places in `classes` of `model.json`.",
        f"## Steps\n\nOne frame at a time. All numbers are in `model.json`.\n\n{steps}",
        "## Graphs\n\n" + _graphs(parts),
        "## Is it the trained model?\n\n" + _parity(report),
        "## Time\n\n" + _latency(report),
    ]
    if report.get("int8"):
        sections.append("## 8 bits\n\n" + _int8(report["int8"], spec["kind"]))
    sections.append("## Where it is from\n\n" + _origin(report))
    return "\n\n".join(sections) + "\n"


def _velocity(parts: list[Part]) -> bool:
    return any(name.endswith("_vel") for name in parts[-1].outputs)


def _graphs(parts: list[Part]) -> str:
    rows = ["| graph | tensor | shape of the example | what |", "|---|---|---|---|"]
    for part in parts:
        shapes = {name: tuple(value.shape) for name, value in part.example.items()}
        shapes |= dict(zip(part.outputs, part.sizes))
        for name, shape in shapes.items():
            free = [f"axis {axis} is free" for axis in part.free.get(name, {})]
            words = "; ".join(filter(None, [part.meaning.get(name, "head output"), *free]))
            side = "in" if name in part.example else "out"
            rows.append(f"| {part.name} | {side} `{name}` | {shape} | {words} |")
    return "\n".join(rows)


def _parity(report: dict[str, Any]) -> str:
    found = report["parity"]
    rows = ["| tensor | largest error | largest value |", "|---|---|---|"]
    for name, one in found["tensors"].items():
        rows.append(f"| `{name}` | {one['error']:.1e} | {one['magnitude']:.3g} |")
    boxes = found["detections"]
    return (
        f"Compared with torch on {report['frames']}.\n\n" + "\n".join(rows) + "\n\n"
        f"Detections of the stock detector with its own preprocessing: {boxes['torch']}; of this "
        f"one: {boxes['exported']}; the same: **{boxes['same']}** (same class, every value of the "
        f"box within {NEAR_M:g}, the score within {NEAR_SCORE:g}; largest differences "
        f"{boxes['box_error']:.1e} and {boxes['score_error']:.1e})."
    )


def _latency(report: dict[str, Any]) -> str:
    found, machine = report["latency"], report["provenance"]["machine"]
    return (
        f"Median of {found['rounds']} frames, {found['threads']} threads, {machine['cpu']}: torch "
        f"{found['torch']:.1f} ms, this one {found['exported']:.1f} ms (preparing "
        f"{found['prepare']:.1f}, network {found['network']:.1f}, boxes {found['finish']:.1f})."
    )


def _int8(found: dict[str, Any], kind: str) -> str:
    sizes, cost = found["bytes"], found["cost"]
    ranges = f", ranges from {found['calibration_frames']} training frames"
    lines = [
        f"`Detector(folder, int8=True)`. Quantisation: {found['way']}"
        f"{ranges if found['way'] == 'static' else ''}; {sizes['before'] / 1e3:.0f} kB -> "
        f"{sizes['after'] / 1e3:.0f} kB; network {found['latency']['network']:.1f} ms. On "
        f"{cost['frames']} test frames{_FLOAT[kind]}:",
        "",
        "| metric | float32 | int8 | difference |",
        "|---|---|---|---|",
    ]
    for name in headline(cost["metrics"]["float32"]):
        before, after = (cost["metrics"][key][name] for key in ("float32", "int8"))
        lines.append(f"| {name} | {before:.3f} | {after:.3f} | {after - before:+.3f} |")
    return "\n".join(lines)


def _origin(report: dict[str, Any]) -> str:
    origin = report["provenance"]
    rows = [
        f"- weights: `{origin['checkpoint']}`, sha256 `{origin['sha256']}`",
        f"- config: `{origin['config']}`",
        f"- commit of kd3d: {origin['commit']}{' with local changes' if origin['dirty'] else ''}",
        "- versions: " + ", ".join(f"{name} {value}" for name, value in origin["versions"].items()),
        f"- command: `{origin['command']}`",
    ]
    if origin["metrics"]:
        text = ", ".join(f"{name} {digits(value)}" for name, value in origin["metrics"].items())
        rows.append(f"- scores of the trained model as its run measured them: {text}")
    else:
        rows.append("- scores of the trained model: not measured")
    return "\n".join(rows)
