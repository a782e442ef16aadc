"""Scenario specs: how many of what, and where. The shipped ones lie in `datasets/simulated/`."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path

import kd3d
from kd3d.errors import UserError, did_you_mean

SPEC_FOLDER = Path(kd3d.__file__).resolve().parents[1] / "datasets" / "simulated"


@dataclass(frozen=True)
class ScenarioSpec:
    """What a frame holds. Means are of Poisson draws over the whole scene, behind the camera too.

    Attributes:
        name: For people.
        environments: Share of "town", "suburb" and "country" frames.
        moving_cars: Mean number of vehicles in the lanes.
        parked_chance: Chance that a side of a street has a row of parked cars.
        parked_fill: Share of a row's places that is taken.
        yard_chance: Chance of a row parked at right angles beside a street.
        crossing_chance: Chance of a crossing road.
        van_share: Share of vans among vehicles.
        truck_share: Share of lorries among moving vehicles.
        tram_chance: Chance of a tram in the frame.
        pedestrians: Mean number of people on foot.
        cyclists: Mean number of cyclists.
        sitting_chance: Chance of a bench with somebody on it.
        misc_chance: Chance of a trailer.
        clutter: Factor on the number of bins, signs, bushes and other furniture.
    """

    name: str = "street"
    environments: dict[str, float] = field(
        default_factory=lambda: {"town": 0.45, "suburb": 0.35, "country": 0.20}
    )
    moving_cars: float = 4.5
    parked_chance: float = 0.45
    parked_fill: float = 0.55
    yard_chance: float = 0.15
    crossing_chance: float = 0.35
    van_share: float = 0.10
    truck_share: float = 0.05
    tram_chance: float = 0.03
    pedestrians: float = 5.0
    cyclists: float = 3.0
    sitting_chance: float = 0.08
    misc_chance: float = 0.06
    clutter: float = 1.0


def load_spec(name_or_path: str | os.PathLike[str]) -> ScenarioSpec:
    """Read a spec by its shipped name ("street", "kitti_like") or from a YAML file.

    Raises:
        UserError: No such file, an unknown key, or a value of the wrong kind or range.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = SPEC_FOLDER / f"{name_or_path}.yaml"
        if not path.is_file():
            shipped = [p.stem for p in SPEC_FOLDER.glob("*.yaml")]
            fix = did_you_mean(str(name_or_path), shipped) + " or give the path of a .yaml file"
            raise UserError(f"unknown scenario {str(name_or_path)!r}", "--spec", fix)
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("file not found", path) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"not valid YAML ({error})", path) from None
    if not isinstance(values, dict):
        raise UserError("a spec is a list of `key: value` lines", path)
    return _checked({"name": path.stem, **values}, path)


def _checked(values: dict, path: Path) -> ScenarioSpec:
    fields = {f.name for f in dataclasses.fields(ScenarioSpec)}
    for key, value in values.items():
        where = f"{path}: {key}"
        if key not in fields:
            raise UserError("unknown key", where, did_you_mean(str(key), fields))
        if key == "environments":
            known = ("town", "suburb", "country")
            good = (
                isinstance(value, dict)
                and set(value) <= set(known)
                and all(map(_is_share, value.values()))
            )
            if not good or sum(value.values()) <= 0:
                raise UserError(f"shares of {', '.join(known)} wanted, got {value!r}", where)
        elif key != "name":
            share = key.endswith(("_chance", "_share", "_fill"))
            if not (_is_share(value) if share else _is_number(value) and 0 <= value <= 200):
                raise UserError(
                    f"a number from 0 to {1 if share else 200} wanted, got {value!r}", where
                )
    return ScenarioSpec(**values)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_share(value: object) -> bool:
    return _is_number(value) and 0 <= value <= 1  # type: ignore[operator]
