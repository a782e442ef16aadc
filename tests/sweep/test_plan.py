"""A sweep file is read whole, and its mistakes are named with their line."""

import pytest

from kd3d.errors import UserError
from kd3d.sweep.plan import Budget, read_sweep

FILE = """\
data_root: data
out: out
seeds: [0, 3]
teacher: runs/teacher
students:
  half: {shrink: {width: 5e-1}}
arms:
  plain: {config: a.py}
  taught:
    config: b.py
    options: {lr: 1e-3}
    method: {type: fitnets, weight: 2}
  longer: {budget: {like: taught, teacher: true}}
"""


def read(tmp_path, text):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return read_sweep(path)


def test_file_is_read(tmp_path):
    sweep = read(tmp_path, FILE)
    assert sweep.seeds == (0, 3)
    assert list(sweep.arms) == ["plain", "taught", "longer"]
    assert sweep.arms["taught"].options == {"lr": 0.001}  # PyYAML alone reads the text "1e-3"
    assert sweep.arms["longer"].budget == Budget("taught", teacher=True)
    assert sweep.students == {"half": {"shrink": {"width": 0.5}}}
    assert sweep.metric is None


@pytest.mark.parametrize(
    "old, new, line, message",
    [
        ("seeds:", "seed:", 3, "seed: unknown key -> did you mean 'seeds'"),
        ("{lr: 1e-3}\n    method:", "{lr: 1e-3}\n    metod:", 12, "arms.taught.metod: unknown key"),
        ("shrink:", "shrnk:", 6, "students.half.shrnk: unknown key -> did you mean 'shrink'"),
        ("like: taught", "like: taugt", 13, "no arm 'taugt' without a budget -> did you mean"),
        ("like: taught", "like: longer", 13, "no arm 'longer' without a budget"),
        ("like: taught", "liek: taught", 13, "arms.longer.budget.liek: unknown key"),
        ("[0, 3]", "[0, 0]", 3, "seeds: names a seed twice"),
        ("[0, 3]", "[0, x]", 3, "seeds: number 2 is 'x'"),
        ("[0, 3]", "3", 3, "seeds: is 3, wanted a list"),
        ("[0, 3]", "[]", 3, "seeds: is empty"),
        ("  plain: {config: a.py}", "  plain: {config: 7}", 8, "config: is 7, wanted text"),
        ("  plain: {config: a.py}", "  plain: {}", 8, "arms.plain: the key 'config' is missing"),
        ("  plain:", "  ../plain:", 8, "'../plain' is no name"),
        (
            "  plain:",
            "  0.5:",
            8,
            "arms.0.5: 0.5 is no name -> letters, digits, _ . + -; quote a bare number",
        ),
        ("  taught:", "  plain:", 9, "the key 'plain' is given twice"),
        ("  longer: {", "  longer: {config: a.py, ", 13, "config: does not go with a budget"),
        ("teacher: runs/teacher\n", "", None, "a budget counts the teacher, but the key 'teacher'"),
        ("out: out\n", "", None, "the key 'out' is missing"),
        ("out: out\n", "out: out\nmetric: car\n", 3, "unknown metric 'car'"),
        ("out: out\n", "out: out\nbaseline: plane\n", 3, "no arm 'plane' -> did you mean 'plain'"),
        ("seeds: [0, 3]", "seeds: [0, 3", 4, "not valid YAML"),
        (FILE, "", None, "holds no mapping"),
    ],
)
def test_mistakes_are_named(tmp_path, old, new, line, message):
    assert old in FILE
    with pytest.raises(UserError) as caught:
        read(tmp_path, FILE.replace(old, new, 1))
    assert message in str(caught.value)
    where = f"{tmp_path / 'sweep.yaml'}:" + (f"{line}: " if line else "")
    assert str(caught.value).startswith(where)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        read_sweep(tmp_path / "none.yaml")
