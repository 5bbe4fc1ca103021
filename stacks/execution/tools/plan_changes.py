"""What a plan does to each resource and output, attribute by attribute, masked.

Read from the JSON of `terraform show`; "Change Representation" and "Plan Representation" on
https://developer.hashicorp.com/terraform/internals/json-format name the fields. Nothing that
is sensitive leaves this module, and whatever the JSON is, it is read without an error.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from stacks.execution.output.terminal import COLOR, harmless
from stacks.execution.tools.plan_list import ACTIONS, rank, resource_row
from stacks.models import PlanChange
from stacks.models.plan import ChangeKind
from stacks.rules.value_diff import (
    Path,
    differences,
    fits_below,
    hide_again,
    path_text,
    value_text,
    with_sensitive,
    with_unknown,
)

# The fields of a change that have the shape of a resource.
VALUES = ("before", "after", "after_unknown", "before_sensitive", "after_sensitive")
Mask = Callable[[str], str]
# How many changes of a plan are listed; what destroys is among them before anything else.
MOST_CHANGES = 20_000
# How many attributes of one resource are shown, and how much of each, in characters.
MOST_ATTRIBUTES = 300
LONGEST_VALUE = 10_000
LONGEST_NAME = 500
# All values together: more would keep a worker busy with masking for long.
MOST_CHARACTERS = 20_000_000
LONGEST_SEARCHED = 4000
# Words like an action's reason, and keys of deposed objects.
LONGEST_WORD = 60


@dataclass(frozen=True)
class Found:
    """A change that is not stored yet, its values, and about how many characters they have."""

    change: PlanChange
    values: dict[str, Any]
    size: int = 0


@dataclass(frozen=True)
class Entry:
    """An entry of a plan: what its row says, and the JSON that it was read from.

    `hides_values` says that the JSON may hold sensitive values which it does not mark.
    """

    kind: ChangeKind
    row: dict[str, str]
    resource: dict[str, Any]
    hides_values: bool = False


@dataclass(frozen=True)
class Attribute:
    """What differs in one attribute of a resource: path, old, new and whether it forces.

    `wholes` are its old and new value in one piece each.
    """

    name: str
    rows: list[tuple[str, str | None, str | None, bool]]
    wholes: tuple[str | None, str | None]

    @property
    def texts(self) -> Iterator[str]:
        for path, old, new, _ in self.rows:
            yield from filter(None, (path, old, new))
        if self.rows[0][1:3] != self.wholes:
            yield from filter(None, self.wholes)


def entries_of(plan: dict[str, Any]) -> list[Entry]:
    """Return what a plan does, in the order in which people read it, then what had drifted.

    Raises AttributeError, KeyError or TypeError where a resource is none.
    """
    resources = _resources(plan, "resource_changes", ChangeKind.RESOURCE)
    outputs = [
        Entry(
            ChangeKind.OUTPUT,
            {"address": str(name), "action": action},
            {"change": _wrapped(change)},
        )
        for name, change in sorted((plan.get("output_changes") or {}).items())
        if (action := ACTIONS.get(tuple(change["actions"]), "change"))
    ]
    return [*resources, *outputs, *_resources(plan, "resource_drift", ChangeKind.DRIFT)]


def count_drifted(entries: list[Entry]) -> int:
    """Return how many resources were changed outside; one that only moved was not."""
    drift = (entry for entry in entries if entry.kind == ChangeKind.DRIFT)
    return sum(entry.row["action"] != "move" for entry in drift)


def read_changes(entries: list[Entry], mask: Mask) -> Iterator[Found]:
    """Yield the changes of a plan with their values, as far as there is room for them."""
    room = MOST_CHARACTERS
    for entry in entries[:MOST_CHANGES]:
        found = _found(entry, mask, room)
        room -= found.size if not found.values["unread"] else 0
        yield found


def _resources(plan: dict[str, Any], name: str, kind: ChangeKind) -> list[Entry]:
    found = [
        Entry(kind, row, resource)
        for resource in plan.get(name) or []
        if (row := resource_row(resource))
    ]
    return sorted(found, key=lambda entry: rank(entry.row))


def _found(entry: Entry, mask: Mask, room: int) -> Found:
    change = entry.resource["change"]
    forcing = _paths(change.get("replace_paths"))
    imported = change.get("importing")
    names = {
        "address": entry.row["address"],
        "moved_from": entry.row.get("moved_from", ""),
        "module": entry.row.get("module", ""),
        "type": str(entry.resource.get("type") or ""),
        "forced_by": ", ".join(map(path_text, forcing)),
        "imported_id": str(imported.get("id") or "") if isinstance(imported, dict) else "",
    }
    attributes = _attributes(change, forcing) if room > 0 and not entry.hides_values else []
    size = sum(len(text) for one in attributes for text in one.texts)
    has_room = 0 < room >= size
    attributes = attributes if has_room else []
    texts = [*names.values(), *(text for one in attributes for text in one.texts)]
    if not _is_clean("\n".join(texts), mask):
        names = {name: _shown(text, mask) for name, text in names.items()}
        attributes = [_masked(one, mask) for one in attributes]
    names = {name: _cut(_plain(text), LONGEST_NAME) for name, text in names.items()}
    rows = [row for one in attributes for row in one.rows]
    values = {
        "rows": [
            [_cut(_plain(path), LONGEST_NAME), _value(old), _value(new), forces]
            for path, old, new, forces in rows[:MOST_ATTRIBUTES]
        ],
        "left_out": max(0, len(rows) - MOST_ATTRIBUTES),
        "unread": not has_room,
        "hidden": entry.hides_values,
        "imported_id": names["imported_id"],
    }
    said = [names["address"], names["type"], names["moved_from"], *(row[0] for row in rows)]
    row = PlanChange(
        kind=entry.kind,
        action=entry.row["action"],
        also=entry.row.get("also", ""),
        address=names["address"],
        moved_from=names["moved_from"],
        module=names["module"],
        deposed=_word(entry.resource.get("deposed")),
        reason=_word(entry.resource.get("action_reason")),
        forced_by=names["forced_by"],
        search_text=_plain("\n".join(said)).casefold()[:LONGEST_SEARCHED],
    )
    return Found(row, values, size)


def _attributes(change: dict[str, Any], forcing: list[Path]) -> list[Attribute]:
    """Return what differs in each attribute between the values before and after a change."""
    marks = [_object(change.get(f"{when}_sensitive")) for when in ("before", "after")]
    after = with_unknown(_object(change.get("after")), _object(change.get("after_unknown")))
    values = [with_sensitive(one, *marks) for one in (_object(change.get("before")), after)]
    old, new = hide_again(values)
    found = []
    for name in sorted({*old, *new}):
        rows = [
            (
                path_text(one.path),
                value_text(one.old),
                value_text(one.new),
                any(fits_below(one.path, path) for path in forcing),
            )
            for one in differences(old.get(name), new.get(name), (name,))
        ]
        if rows:
            wholes = (value_text(old.get(name)), value_text(new.get(name)))
            found.append(Attribute(name, rows, wholes))
    return found


def _wrapped(change: dict[str, Any]) -> dict[str, Any]:
    """Return the change of an output as that of a resource with one attribute."""
    values = {name: {"value": change.get(name)} for name in VALUES}
    return {"actions": change["actions"]} | values


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _paths(value: Any) -> list[Path]:
    found = value if isinstance(value, list) else []
    return [tuple(path) for path in found if isinstance(path, list) and path]


def _masked(attribute: Attribute, mask: Mask) -> Attribute:
    """Return an attribute without secrets; with any in it, it is shown in one piece.

    So no short part of a secret is taken out of what makes it known as one.
    """
    if _is_clean("\n".join(attribute.texts), mask):
        return attribute
    old, new = (None if text is None else _shown(text, mask) for text in attribute.wholes)
    forces = any(row[3] for row in attribute.rows)
    name = _shown(attribute.name, mask)
    return Attribute(name, [(name, old, new, forces)], (old, new))


def _is_clean(text: str, mask: Mask) -> bool:
    text = _plain(text)
    return mask(text) == text


def _shown(text: str, mask: Mask) -> str:
    return mask(_plain(text))


def _plain(text: str) -> str:
    """Return a text that terminals, pages and databases take as text alone."""
    return COLOR.sub("", harmless(text)).encode(errors="replace").decode()


def _value(text: str | None) -> str | None:
    return None if text is None else _cut(_plain(text), LONGEST_VALUE)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + "…"


def _word(value: Any) -> str:
    """Return a word of Terraform's, empty where it is none."""
    is_word = isinstance(value, str) and re.fullmatch(r"[0-9A-Za-z_]+", value)
    return str(value)[:LONGEST_WORD] if is_word else ""
