"""Check that every relative link in the project's Markdown files leads somewhere."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(
    r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|<(?:img|a)[^>]*(?:src|href)=\"([^\"]+)\""
)
SKIP = {".venv", ".git", "work_dirs", "data", "node_modules"}


def broken_links(root: Path) -> list[str]:
    """Return ``file:line: target`` for each relative link without a file behind it."""
    found = []
    for path in sorted(root.rglob("*.md")):
        if SKIP & set(path.relative_to(root).parts[:-1]):
            continue
        code = False
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            code ^= line.lstrip().startswith("```")
            for match in [] if code else LINK.finditer(line):
                target = (match.group(1) or match.group(2)).split("#")[0]
                if target and "://" not in target and not target.startswith("mailto:"):
                    base = root if target.startswith("/") else path.parent
                    if not (base / target.lstrip("/")).exists():
                        found.append(f"{path.relative_to(root)}:{number}: {target}")
    return found


if __name__ == "__main__":
    broken = broken_links(ROOT)
    print("\n".join(broken) if broken else "docs: every relative link resolves")
    sys.exit(bool(broken))
