"""A page in headless chromium, at 1280 and 390 pixels at once: what it tells of itself."""

import re
import shutil
import subprocess

import pytest

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium here (apt-get install chromium)"
)
# The narrow frame is narrower than a window of chromium may be.
OUTER = """<!doctype html><body data-told=""><script>addEventListener("message", event => {
  document.body.dataset.told += event.data + ";";
});</script><iframe src="page.html" width="1280" height="1100"></iframe>
<iframe src="page.html" width="390" height="1100"></iframe>"""
REQUESTS = re.compile(r"(src|href)=\"(?!data:|#)|https?://(?!www\.w3\.org)|url\(|import\(|fetch\(")


def told(tmp_path, text, probe):
    """Return the rows that a page tells at both widths, sorted; each starts with ``innerWidth``.

    The page must ask for nothing outside of itself, and nothing may be written to the console.

    Args:
        tmp_path: An empty folder.
        text: The page.
        probe: A script element that posts one text with commas to its parent.
    """
    assert not REQUESTS.search(text)
    (tmp_path / "page.html").write_text(text.replace("</body>", probe + "</body>"))
    outer = tmp_path / "outer.html"
    outer.write_text(OUTER)
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--disable-background-networking", "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1720,1200",
            "--virtual-time-budget=8000", "--dump-dom", outer.as_uri(),
        ],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    found = re.search(r'data-told="([^"]+)"', done.stdout)
    assert found, "the probe did not run"
    rows = sorted(row.split(",") for row in found[1].rstrip(";").split(";"))
    assert [row[0] for row in rows] == ["1280", "390"]
    return rows
