"""The process of one run: ``python -m kd3d.sweep.worker FOLDER`` trains, tests and records it."""

from __future__ import annotations

import os
import resource
import sys
import threading
from pathlib import Path

from kd3d.errors import user_line
from kd3d.fileio import read_json
from kd3d.sweep.runs import SPEC_FILE

STOPPED = 130


def work(folder: Path) -> None:
    """Do what is missing of a run whose ``run.json`` the sweep has written."""
    from mmengine.config import Config

    from kd3d.engine.experiment import record_run, test_run, train_run
    from kd3d.report.record import SCALARS_FILE

    spec = read_json(folder / SPEC_FILE)
    parsed = Config.fromstring(spec["config_text"], ".py")
    config = Config(parsed.to_dict(), filename=spec["config"])
    if not (folder / SCALARS_FILE).is_file():  # the last thing that a training writes
        train_run(config)
    test_run(config)
    record = record_run(config, spec["role"], spec["method"], spec["data"], spec.get("note"))
    record.name, record.command = spec["name"], spec["command"]
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    record.extra |= {"sweep_key": spec["key"], "peak_memory_mb": round(peak_kb / 1024, 1)}
    record.save(folder)


def _end_with_the_sweep() -> None:
    """Wait for the end of standard input, which is that of the sweep, and end with it."""
    sys.stdin.buffer.read()
    os._exit(STOPPED)


def main() -> None:
    """Run; exit codes: 0 done, 1 a fault of the program (traceback in the log), 2 bad input."""
    threading.Thread(target=_end_with_the_sweep, daemon=True).start()
    try:
        work(Path(sys.argv[1]))
    except Exception as error:
        line = user_line(error)
        if line is None:
            raise
        print(f"kd3d: error: {line}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
