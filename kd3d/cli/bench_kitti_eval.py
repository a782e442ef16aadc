"""`kd3d bench kitti-eval`: how fast is the KITTI evaluation, and is it right?"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import typer

OFFICIAL_SECONDS = 16.8
OFFICIAL_FRAMES = 3769
OFFICIAL_SOURCE = (
    "the official C++ program on 3,769 frames with about 25,000 labels and 25,000 detections, "
    "one core of a 2-core machine (a figure given to the project in issue 2; this command does "
    "not run that program)"
)


def register(app: typer.Typer) -> None:
    """Add `bench kitti-eval`."""
    from kd3d.cli.main import group

    @group(app, "bench").command("kitti-eval")
    def bench_kitti_eval(
        frames: int = typer.Option(OFFICIAL_FRAMES, min=1, help="Simulated frames."),
        seed: int = typer.Option(0, help="Seed of the simulated set."),
        repeat: int = typer.Option(3, min=1, help="Measure so often; the best counts."),
        peer_frames: int = typer.Option(40, min=1, help="Frames for the plain-loop peer."),
        json_file: str | None = typer.Option(
            None, "--json", help="Write the result there; '-' is standard output."
        ),
    ) -> None:
        """Time reading and evaluation on a simulated set, beside a plain-loop evaluation.

        Exit code 1 when the two disagree.
        """
        from kd3d.console import gave_json

        result = run_benchmark(frames, seed, repeat, peer_frames)
        if not gave_json(result, json_file):
            print_benchmark(result)
        if not result["naive_loop"]["equal"]:
            raise typer.Exit(1)


def run_benchmark(frames: int, seed: int, repeat: int, peer_frames: int) -> dict[str, Any]:
    """Make the set in a temporary folder and measure; see the printed text for the meaning."""
    from kd3d.console import say
    from kd3d.evaluation.kitti_ap import evaluate_kitti
    from kd3d.evaluation.kitti_synthetic import write_simulated_set

    with tempfile.TemporaryDirectory(prefix="kd3d-kitti-eval-") as folder:
        say(f"writing {frames} simulated frames (seed {seed}) ...")
        labels, detections = write_simulated_set(folder, frames, seed)
        started = time.perf_counter()
        first = _read(folder, limit=min(peer_frames, frames))
        evaluate_kitti(*first)
        warm_up = time.perf_counter() - started
        runs = []
        for _ in range(repeat):
            started = time.perf_counter()
            data = _read(folder)
            read = time.perf_counter()
            evaluate_kitti(*data)
            ended = time.perf_counter()
            runs.append({"read_s": read - started, "evaluate_s": ended - read})
    for run in runs:
        run["total_s"] = run["read_s"] + run["evaluate_s"]
    best = min(runs, key=lambda run: run["total_s"])
    official: dict[str, Any] = {"seconds": OFFICIAL_SECONDS, "source": OFFICIAL_SOURCE}
    if frames == OFFICIAL_FRAMES:
        official["times_faster"] = OFFICIAL_SECONDS / best["total_s"]
    return {
        "simulated": True, "frames": frames, "labels": labels, "detections": detections,
        "seed": seed, "best": best, "runs": runs, "frames_per_s": frames / best["total_s"],
        "warm_up_s": warm_up, "official_cpp": official, "naive_loop": compare_with_peer(*first),
        "cpus": os.cpu_count(), "load_average": list(os.getloadavg()),
    }  # fmt: skip


def _read(folder: str, limit: int | None = None) -> tuple[list, list]:
    from kd3d.data.kitti_files import read_label_dir

    names = None if limit is None else [f"{frame:06d}" for frame in range(limit)]
    labels = read_label_dir(Path(folder) / "label_2", names, scores=False)
    found = read_label_dir(Path(folder) / "pred", list(labels), scores=True)
    return list(labels.values()), list(found.values())


def compare_with_peer(labels: list, detections: list) -> dict[str, Any]:
    """Evaluate with plain loops too; return both times and the largest difference of a curve."""
    import numpy as np

    from kd3d.console import track
    from kd3d.data.kitti_files import CLASSES
    from kd3d.evaluation.kitti_ap import evaluate_kitti
    from kd3d.evaluation.kitti_naive import naive_curve
    from kd3d.evaluation.kitti_rules import METRICS, OVERLAPS, min_overlap

    started = time.perf_counter()
    fast = evaluate_kitti(labels, detections, curves=True)["curves"]
    middle = time.perf_counter()
    worst = 0.0
    jobs = [(c, m, o) for c in CLASSES for m in METRICS for o in OVERLAPS]
    for name, metric, overlap in track(jobs, "plain loops"):
        limit = min_overlap(metric, overlap, name)
        for row in range(3):
            precision, similarity = naive_curve(labels, detections, name, metric, row, limit)
            pairs = [(precision, fast[name][metric][overlap][row])]
            if metric == "2D":
                pairs.append((similarity, fast[name]["AOS"][overlap][row]))
            worst = max(worst, *(float(np.abs(np.subtract(*pair)).max()) for pair in pairs))
    naive_s, fast_s = time.perf_counter() - middle, middle - started
    return {
        "frames": len(labels), "naive_s": naive_s, "kd3d_s": fast_s,
        "times_faster": naive_s / fast_s, "largest_difference": worst, "equal": worst <= 1e-9,
    }  # fmt: skip


def print_benchmark(result: dict[str, Any]) -> None:
    """Print the result in a few lines."""
    best, official, naive = result["best"], result["official_cpp"], result["naive_loop"]
    print(
        f"simulated set: {result['frames']} frames, {result['labels']} labels, "
        f"{result['detections']} detections (seed {result['seed']})\n"
        f"best of {len(result['runs'])}: {best['total_s']:.2f} s = read {best['read_s']:.2f} s + "
        f"evaluate {best['evaluate_s']:.2f} s; {result['frames_per_s']:.0f} frames/s; "
        f"load {result['load_average'][0]:.1f} on {result['cpus']} cores\n"
        f"first call, not counted (compiles or loads the kernels): {result['warm_up_s']:.2f} s"
    )
    if "times_faster" in official:
        print(
            f"{official['times_faster']:.1f} times as fast as {official['seconds']} s for "
            f"{official['source']}"
        )
    verdict = "equal" if naive["equal"] else "DIFFERENT"
    print(
        f"plain loops on {naive['frames']} frames: {naive['naive_s']:.2f} s against "
        f"{naive['kd3d_s']:.4f} s, {naive['times_faster']:.0f} times slower; curves {verdict} "
        f"(largest difference {naive['largest_difference']:.1e})"
    )
