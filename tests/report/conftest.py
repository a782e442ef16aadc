import pytest

from kd3d.report.page import write_report
from tests.report.study import make_study

SPREAD = {"car_3d_moderate": {"sd": 1.5, "n": 5, "source": "docs/spread.json"}}


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Return the three run folders of a small study; do not change them."""
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def page(study, tmp_path_factory):
    """Return the path of the study's report."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    write_report(study, out, "A study", spread=SPREAD, frames=2)
    return out
