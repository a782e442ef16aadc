"""Which checkpoint a training goes on from, and what a killed one left behind."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

from mmengine.config import Config

from kd3d import compat
from kd3d.console import say
from kd3d.engine.inherited import settle_inheritance
from kd3d.errors import UserError

LAST = "last_checkpoint"
PARTIAL = ".partial-"  # prefix of a checkpoint that is being written
_NUMBERED = re.compile(r"(epoch|iter)_(\d+)\.pth")
# what an interrupted write by kd3d.fileio leaves
_LEFTOVERS = (f"{PARTIAL}*", f".{LAST}-????????", ".student-????????.pth")


def settle(config: Config, resume: bool) -> None:
    """Set where the training starts: ``config.resume``, ``load_from``, ``inherit`` and the seed.

    Args:
        config: With its work folder; changed.
        resume: Go on from the newest whole checkpoint there, if there is one.

    Raises:
        UserError: Checkpoints that would be overwritten; none that is whole; one that is not safe
            to load; another seed than the checkpoint's; two origins of the weights.
    """
    folder = checkpoint_folder(config)
    for pattern in _LEFTOVERS:
        for path in {*folder.glob(pattern), *Path(config.work_dir).glob(pattern)}:
            path.unlink(missing_ok=True)
    if not resume:
        config.resume = False
        found = _numbered(folder)
        if found:
            raise UserError(
                f"an earlier training is here, up to {found[0].name}, and would be overwritten",
                folder,
                "continue it with --resume, or choose another --work-dir",
            )
        settle_inheritance(config, resumed=False)
        return
    newest = newest_checkpoint(folder, Path(config.work_dir) / LAST)
    config.resume = newest is not None
    settle_inheritance(config, resumed=config.resume)
    if newest is None:
        return
    config.load_from = str(newest)
    meta = compat.load_checkpoint_file(newest).get("meta") or {}
    _settle_seed(config, meta.get("seed"), newest)
    say(f"    continuing from {newest}")


def checkpoint_folder(config: Config) -> Path:
    """Return where mmengine's checkpoint hook writes."""
    work = Path(config.work_dir)
    hook = (config.get("default_hooks") or {}).get("checkpoint") or {}
    out = hook.get("out_dir")
    return work if out is None or Path(out) == work else Path(out) / work.name


def newest_checkpoint(folder: Path, last: Path) -> Path | None:
    """Return the newest whole checkpoint, or None where there is no checkpoint at all.

    ``last_checkpoint`` alone would not do: a kill may fall between the writing of a checkpoint and
    of that file. A file that is truncated or damaged is passed over, and named.

    Args:
        folder: Where checkpoints lie.
        last: The file that names the last one; may be missing.

    Raises:
        UserError: There are checkpoints, but none is whole.
    """
    candidates = _numbered(folder)
    if last.is_file():
        named = Path(last.read_text(encoding="utf-8").strip())
        if not named.is_file():
            say(f"    {last} names {named}, which is not there")
        elif not _NUMBERED.fullmatch(named.name):  # the config's own filename_tmpl
            candidates.insert(0, named)
    for path in candidates:
        if is_whole(path):
            return path
        say(f"    {path} is not whole, passed over")
    if candidates:
        raise UserError(
            f"none of {len(candidates)} checkpoints is whole", folder, "remove them to start anew"
        )
    return None


def is_whole(path: Path) -> bool:
    """Return whether every part of a checkpoint has the checksum that was written with it."""
    try:
        with zipfile.ZipFile(path) as parts:
            return parts.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError):
        return False


def _numbered(folder: Path) -> list[Path]:
    """Return the checkpoints of one folder, newest first."""
    found: dict[str, list[tuple[int, Path]]] = {"epoch": [], "iter": []}
    for path in folder.glob("*.pth"):
        match = _NUMBERED.fullmatch(path.name)
        if match:
            found[match[1]].append((int(match[2]), path))
    lists = [[path for _, path in sorted(some, reverse=True)] for some in found.values() if some]
    lists.sort(key=lambda some: some[0].stat().st_mtime_ns, reverse=True)
    return [path for some in lists for path in some]


def _settle_seed(config: Config, seed: Any, path: Path) -> None:
    """Take over the checkpoint's seed: data and order depend on it."""
    randomness = dict(config.get("randomness") or {})
    wanted = randomness.get("seed")
    if wanted is not None and seed is not None and wanted != seed:
        raise UserError(
            f"was trained with seed {seed}, the config says {wanted}",
            path,
            f"set randomness.seed={seed}, or choose another --work-dir",
        )
    config.randomness = randomness | {"seed": seed if wanted is None else wanted}
