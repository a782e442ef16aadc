"""Steps that are skipped when their result is there and their inputs have not changed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kd3d.console import say
from kd3d.fileio import read_json, write_json


def fingerprint(*parts: Any) -> str:
    """Return a hash of JSON-like values; files (`Path`) count by their content."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            digest.update(part.read_bytes())
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


class Steps:
    """The steps of one folder, remembered in ``steps.json``.

    Args:
        folder: Where the results lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "steps.json"
        self.done: dict[str, str] = read_json(self.file) if self.file.is_file() else {}

    def run(
        self,
        name: str,
        key: str,
        outputs: list[Path],
        action: Callable[[], Any],
        scratch: Path | None = None,
    ) -> bool:
        """Run `action` unless this step was done with this key and its outputs are there.

        Args:
            name: Shown, and remembered.
            key: Hash of everything the result depends on, see `fingerprint`.
            outputs: Files or folders that the step leaves.
            action: Does the work; may continue what an interrupted call with the same key left.
            scratch: Folder to remove when the key has changed since it was begun.

        Returns:
            Whether the action ran.
        """
        if self.done.get(name) == key and all(path.exists() for path in outputs):
            say(f"{name}: done before")
            return False
        say(f"{name} ...")
        begun = f"begun: {name}"
        if scratch is not None and self.done.get(begun, self.done.get(name)) != key:
            shutil.rmtree(scratch, ignore_errors=True)
        self._remember(begun, key)
        action()
        self.done.pop(begun)
        self._remember(name, key)
        return True

    def _remember(self, name: str, key: str) -> None:
        self.done[name] = key
        write_json(self.file, self.done)
