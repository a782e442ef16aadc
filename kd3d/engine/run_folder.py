"""What a person names when they mean a trained model: a config and weights, or a run's folder."""

from __future__ import annotations

from pathlib import Path

from kd3d.errors import UserError
from kd3d.models.source import config_path

STUDENT_FILE = "student.pth"


def find_run(run: str | Path, checkpoint: str | Path | None = None) -> tuple[Path, Path]:
    """Return the config and the weights that `run` and `checkpoint` mean.

    Args:
        run: A config (a file, or ``kd3d::demo/baseline.py``), or a folder that ``kd3d train``,
            ``demo`` or ``sweep`` wrote. There ``config.py`` is taken, else the only other config,
            else ``student_config.py``, which knows of no data.
        checkpoint: Weights; a folder has its own, ``student.pth``.

    Raises:
        UserError: No such files, or several configs to choose from.
    """
    folder = Path(run)
    if not folder.is_dir():
        if checkpoint is None:
            raise UserError(
                "weights are missing", run, "give the checkpoint after the config, or a run folder"
            )
        path = config_path(str(run))
    else:
        path = _config_in(folder)
    weights = Path(checkpoint) if checkpoint is not None else folder / STUDENT_FILE
    if not weights.is_file():
        raise UserError("file not found", weights, "train it first, or correct the path")
    return path, weights


def _config_in(folder: Path) -> Path:
    if (folder / "config.py").is_file():
        return folder / "config.py"
    configs = sorted(folder.glob("*.py"))
    whole = [path for path in configs if not path.stem.endswith("_config")]
    if len(whole) > 1:
        names = ", ".join(path.name for path in whole)
        raise UserError(f"several configs ({names})", folder, "name the one that is meant")
    found = whole or [path for path in configs if path.name == "student_config.py"]
    if not found:
        raise UserError("no config in it", folder, "give a config and a checkpoint")
    return found[0]
