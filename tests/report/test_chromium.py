"""The page in a real browser: every picture decodes, nothing is logged as an error."""

import re
import shutil
import subprocess

import pytest

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PROBE = """<script>addEventListener("load", () => {
  const images = [...document.images];
  const charts = [...document.querySelectorAll("svg.chart")];
  const seen = element => element.getBoundingClientRect().height > 0;
  document.body.setAttribute("data-probe", JSON.stringify({
    images: images.length,
    broken: images.filter(i => !i.complete || !i.naturalWidth).length,
    charts: charts.length,
    hiddenSections: [...document.querySelectorAll("section")].filter(s => !seen(s)).length,
    wide: document.documentElement.scrollWidth - innerWidth,
  }).replaceAll('"', "'"));
});</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no chromium here (apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 500])
def test_page_in_chromium(page, tmp_path, width):
    probed = tmp_path / "page.html"
    probed.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--disable-background-networking", "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1200",
            "--virtual-time-budget=5000", "--dump-dom", probed.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    found = re.search(r'data-probe="{([^"]*)}"', done.stdout)
    assert found, "the probe did not run"
    probe = {k: int(v) for k, v in re.findall(r"'(\w+)':(-?\d+)", found[1])}
    assert probe["images"] >= 12
    assert probe["broken"] == 0
    assert probe["charts"] >= 9
    assert probe["hiddenSections"] == 0
    assert probe["wide"] <= 0  # no sideways scrolling of the page itself
