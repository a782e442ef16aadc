"""How the demo's gain varies with the seed: students over seeds, one teacher, one data set.

Usage: python benchmarks/demo/spread.py [--task lidar] [--seeds 5] [--out work_dirs/demo]

Runs what is missing, so it can be stopped and continued. Writes spread.json (of the task camera:
camera_spread.json), which `kd3d demo` states beside its single-seed gain. All data are simulated.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from kd3d.demo import TASKS, run_demo, run_students
from kd3d.engine import provenance
from kd3d.fileio import write_json
from kd3d.report.record import RunRecord


def main() -> None:
    """Run all seeds and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=TASKS, default="lidar")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("work_dirs/demo"))
    arguments = parser.parse_args()
    task = TASKS[arguments.task]
    run_demo(task, arguments.out)
    rows = []
    for seed in range(arguments.seeds):
        folder = arguments.out if seed == 0 else arguments.out / f"seed{seed}"
        if seed:
            run_students(task, arguments.out, folder, seed)
        runs = {name: RunRecord.load(folder / name) for name in ("baseline", "distilled")}
        values = {
            metric.key: {name: metric.read(run.result) for name, run in runs.items()}
            for metric in runs["baseline"].benchmark.metrics
        }
        seconds = {name: run.wall_time_s["train"] for name, run in runs.items()}
        rows.append(
            {"seed": seed, "scores": values, "train_s": seconds, "commit": runs["distilled"].commit}
        )
    table = {}
    for key in rows[0]["scores"]:
        gains = [row["scores"][key]["distilled"] - row["scores"][key]["baseline"] for row in rows]
        mean, sd = statistics.mean(gains), statistics.stdev(gains)
        se = sd / len(gains) ** 0.5
        table[key] = {
            "mean": mean,
            "sd": sd,
            "n": len(gains),
            "se": se,
            "gains": gains,
            "source": f"{len(gains)} seeds of the demo (simulated), mean gain {mean:+.2g} "
            f"with standard error {se:.2g}, benchmarks/demo/{task.spread.name}",
        }
    teacher = RunRecord.load(arguments.out / "teacher")
    target = task.spread
    write_json(
        target,
        {
            "what": "gain of the distilled over the baseline student, same seed, simulated data",
            "command": "python benchmarks/demo/spread.py "
            f"--task {task.name} --seeds {arguments.seeds}",
            "teacher": {m.key: m.read(teacher.result) for m in teacher.benchmark.metrics},
            "gain_spread": table,
            "runs": rows,
            "machine": provenance.machine(),
            "versions": provenance.versions(),
        },
    )
    print(target)


if __name__ == "__main__":
    main()
