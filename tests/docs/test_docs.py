"""The documents: every command can be given, the tutorials run, the site needs no network."""

import html.parser
import os
import subprocess
import sys

import click
import pytest
import typer

from kd3d.cli.main import build_app
from tests.docs.commands import PAGES, commands, every_command
from tests.paths import ROOT

TUTORIALS = ("compress-pointpillars", "lidar-to-camera")


@pytest.mark.parametrize(
    ("page", "words"), every_command(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_command_of_the_documents_can_be_given(page, words):
    command = typer.main.get_command(build_app())
    context = click.Context(command, info_name="kd3d")
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(context, list(words))
        context = click.Context(command, parent=context, info_name=name)
    command.make_context(context.info_name, list(words), parent=context.parent)
    for word in words:
        if word.startswith(("configs/", "benchmarks/", "tools/")):
            assert (ROOT / word).exists(), word


def test_the_pages_hold_commands():
    assert len(every_command()) > 30
    assert len(PAGES) > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorials_small_commands_run(name, tmp_path):
    """All up to the first that wants the real data."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for words in commands(ROOT / "docs" / "tutorials" / f"{name}.md"):
        if "data/nuscenes" in words:
            break
        done = subprocess.run(
            [sys.executable, "-m", "kd3d.cli.main", *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stderr[-2000:])


class Requests(html.parser.HTMLParser):
    """Collects what a page fetches when it is opened."""

    def __init__(self, text):
        super().__init__()
        self.outside = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        fetched = values.get("src") if tag != "a" else None
        if tag == "link" and values.get("rel") not in ("canonical", "next", "prev"):
            fetched = values.get("href")
        if fetched and "://" in fetched:
            self.outside.append(fetched)


@pytest.mark.slow
def test_the_site_is_built_whole_and_fetches_nothing(tmp_path):
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert (tmp_path / "methods" / "nst.html") in pages
    assert "How it differs" in (tmp_path / "methods" / "sparsekd.html").read_text()
    for page in pages:
        assert Requests(page.read_text()).outside == [], page


def test_the_method_of_the_tutorial_keeps_every_promise():
    """The first Python block, registered as it stands, on a pair of tiny detectors."""
    from kd3d.core.registry import METHODS
    from kd3d.engine.contract import broken_promises, build
    from kd3d.engine.register import register_all
    from kd3d.models.tiny import PAIRS

    register_all()
    text = (ROOT / "docs" / "tutorials" / "new-method.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    try:
        exec(compile(code, "new-method.md", "exec"), {})
        pair = next(iter(PAIRS))
        assert broken_promises(build({"type": "cosine_hint"}, pair), pair) == []
    finally:
        METHODS.module_dict.pop("cosine_hint", None)
