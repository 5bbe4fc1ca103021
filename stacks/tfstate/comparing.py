"""What differs between two versions of a state, resource by resource.

Nothing but a person compares states, so this takes the time that reading both takes.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from core import bounded_json
from stacks.models import StateVersion
from stacks.rules.attribute_rows import AttributeRow, rows_of
from stacks.rules.value_diff import (
    Difference,
    Path,
    Sensitive,
    differences,
    hide_again,
    path_text,
    value_text,
)
from stacks.tfstate.files import MOST_PARTS

MOST_ATTRIBUTES = 100
LONGEST_VALUE = 5_000  # characters


@dataclass(frozen=True)
class Instance:
    """An object or an output in a state, and the paths of what is sensitive in it."""

    values: dict[str, Any]
    sensitive: list[Path]


@dataclass(frozen=True)
class Compared:
    """A resource that differs: what became of it, and what differs in it."""

    address: str
    action: str
    rows: list[AttributeRow]
    left_out: int


class Comparison:
    """The resources and outputs that differ between two states, by address."""

    def __init__(self, old: StateVersion, new: StateVersion) -> None:
        """Read both. Raises WrongKey."""
        self._old, self._new = instances_of(old), instances_of(new)
        addresses = sorted({*self._old, *self._new})
        self.addresses = [one for one in addresses if self._old.get(one) != self._new.get(one)]

    def count(self, action: str) -> int:
        return sum(self._action(address) == action for address in self.addresses)

    def part(self, first: int, size: int) -> list[Compared]:
        """Return some of what differs, in the order of the addresses."""
        return [self._compared(one) for one in self.addresses[first : first + size]]

    def _action(self, address: str) -> str:
        if address not in self._old:
            return "add"
        return "change" if address in self._new else "destroy"

    def _compared(self, address: str) -> Compared:
        nothing = Instance({}, [])
        old, new = self._old.get(address, nothing), self._new.get(address, nothing)
        found = _differences(old, new)
        rows = [_row(one) for one in islice(found, MOST_ATTRIBUTES)]
        left_out = sum(1 for _ in found)
        return Compared(address, self._action(address), rows_of(rows), left_out)


def instances_of(version: StateVersion) -> dict[str, Instance]:
    """Return what a version holds by address; nothing where that can't be read.

    Raises WrongKey.
    """
    if version.is_deletion:
        return {}
    try:
        state = bounded_json.loads(version.read(), MOST_PARTS)
    except ValueError:
        return {}
    return dict(_instances(_object(state)))


def _instances(state: dict[str, Any]) -> Iterator[tuple[str, Instance]]:
    """Yield each address with what it holds; the format is Terraform's, version 4."""
    for resource in map(_object, _list(state.get("resources"))):
        for instance in map(_object, _list(resource.get("instances"))):
            values = instance.get("attributes") or instance.get("attributes_flat")
            paths = [_path(path) for path in _list(instance.get("sensitive_attributes"))]
            yield _address(resource, instance), Instance(_object(values), paths)
    for name, output in _object(state.get("outputs")).items():
        is_sensitive = bool(_object(output).get("sensitive"))
        value = {"value": _object(output).get("value")}
        yield f"output {name}", Instance(value, [("value",)] if is_sensitive else [])


def _address(resource: dict[str, Any], instance: dict[str, Any]) -> str:
    mode = "data" if resource.get("mode") == "data" else ""
    parts = (resource.get("module"), mode, resource.get("type"), resource.get("name"))
    address = ".".join(str(part) for part in parts if part)
    if (key := instance.get("index_key")) is not None:
        address += f"[{json.dumps(key, ensure_ascii=False)}]"
    deposed = instance.get("deposed")
    return f"{address} (deposed object {deposed})" if deposed else address


def _path(steps: Any) -> Path:
    """Return a path of `sensitive_attributes`, up to a step that is none."""
    found: list[Any] = []
    for step in _list(steps):
        value = _object(step).get("value")
        value = value.get("value") if isinstance(value, dict) else value
        if not isinstance(value, str | int):
            break
        found.append(value)
    return tuple(found)


def _differences(old: Instance, new: Instance) -> Iterator[Difference]:
    """Yield what differs; what is sensitive in one of them is hidden in both."""
    paths = [*old.sensitive, *new.sensitive]
    before, after = hide_again([_hidden(one.values, paths) for one in (old, new)])
    return differences(before, after)


def _hidden(value: Any, paths: list[Path]) -> Any:
    for path in paths:
        value = _hide_at(value, path)
    return value


def _hide_at(value: Any, path: Path) -> Any:
    """Return a value with what is at a path hidden: all of it where the path leads nowhere."""
    if value is None or isinstance(value, Sensitive):
        return value
    if path and isinstance(value, dict) and isinstance(path[0], str):
        name, *rest = path
        hidden = {name: _hide_at(value[name], tuple(rest))} if name in value else {}
        return value | hidden
    if path and isinstance(value, list) and isinstance(path[0], int):
        index, *rest = path
        return [
            _hide_at(one, tuple(rest)) if place == index else one for place, one in enumerate(value)
        ]
    return Sensitive(value)


def _row(one: Difference) -> tuple[str, str | None, str | None, bool]:
    return path_text(one.path), _cut(value_text(one.old)), _cut(value_text(one.new)), False


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
