"""The commands in the documents."""

import re
import shlex
from pathlib import Path

from tests.paths import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)
PROGRAMS = ("kd3d", ".venv/bin/kd3d")


def commands(page: Path) -> list[list[str]]:
    """Return the words of every kd3d command in a page's bash blocks, without the program."""
    found = []
    for block in FENCE.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] in PROGRAMS:
                found.append(words[1:])
    return found


def every_command() -> list[tuple[str, list[str]]]:
    """Return (page, words) of all pages."""
    return [(str(p.relative_to(ROOT)), words) for p in PAGES for words in commands(p)]
