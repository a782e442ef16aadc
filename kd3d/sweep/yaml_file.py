"""A YAML file whose mistakes are told with their line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from kd3d.errors import UserError, did_you_mean

REQUIRED = object()
_SAID = {
    str: "text",
    int: "a whole number",
    bool: "true or false",
    dict: "a mapping",
    list: "a list",
}


class _Loader(yaml.SafeLoader):
    """Reads ``1e-3`` as the number it is in YAML 1.2; PyYAML takes it for text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


class Section:
    """A mapping of the file; knows where it stands.

    Args:
        file: The file, for messages.
        values: The mapping itself.
        path: Keys that lead to it, e.g. ``("arms", "distilled")``.
        lines: Line of every path in the file, counted from 1.
    """

    def __init__(
        self,
        file: Path,
        values: dict[str, Any],
        path: tuple[Any, ...] = (),
        lines: dict[tuple[str, ...], int] | None = None,
    ) -> None:
        self.file, self.values, self.path, self.lines = file, values, path, lines or {}

    def error(self, what: str, key: object = None, fix: str | None = None) -> UserError:
        """Return the error about a key of this section (or the section itself)."""
        path = self.path if key is None else (*self.path, key)
        line = self.lines.get(_texts(path)) or self.lines.get(_texts(self.path))
        name = ".".join(map(str, path))
        where = f"{self.file}:{line}" if line else str(self.file)
        return UserError(f"{name}: {what}" if name else what, where, fix)

    def only(self, *known: str) -> None:
        """Refuse keys that are not `known`."""
        for key in self.values:
            if key not in known:
                raise self.error("unknown key", key, did_you_mean(str(key), known))

    def take(self, key: str, kind: type, default: Any = REQUIRED) -> Any:
        """Return the value of a key.

        Raises:
            UserError: The key is missing and has no default, or its value is of another kind.
        """
        if key not in self.values:
            if default is REQUIRED:
                raise self.error(f"the key {key!r} is missing")
            return default
        value = self.values[key]
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.error(f"is {value!r}, wanted {_SAID[kind]}", key)
        return value

    def section(self, key: str, default: Any = REQUIRED) -> Section:
        """Return the mapping under a key."""
        return Section(self.file, self.take(key, dict, default), (*self.path, key), self.lines)


def _texts(path: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(map(str, path))


def read_yaml(path: str | Path) -> Section:
    """Read a YAML mapping.

    Raises:
        UserError: No such file, not YAML, a key given twice, or no mapping at the top.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError("no such file", file)
    loader = None
    try:
        loader = _Loader(file.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        lines: dict[tuple[str, ...], int] = {}
        _locate(node, (), lines, file)
        values = loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else file
        raise UserError(f"not valid YAML ({getattr(error, 'problem', error)})", where) from error
    except UnicodeDecodeError as error:
        raise UserError("is not UTF-8 text", file) from error
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(values, dict):
        raise UserError("holds no mapping of keys to values", file)
    return Section(file, values, (), lines)


def _locate(
    node: yaml.Node | None, path: tuple[str, ...], lines: dict[tuple[str, ...], int], file: Path
) -> None:
    """Note the line of every path below `node`; refuse keys given twice, which YAML would drop."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, key.value)
            line = key.start_mark.line + 1
            if below in lines and key.value != "<<":
                raise UserError(
                    f"the key {key.value!r} is given twice", f"{file}:{line}", "remove one"
                )
            lines[below] = line
            _locate(value, below, lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            below = (*path, str(index))
            lines[below] = value.start_mark.line + 1
            _locate(value, below, lines, file)
