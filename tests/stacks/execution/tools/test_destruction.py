"""Whether a plan destroys every resource in the state, read from what `show -json` prints."""

import json
from typing import Any

import pytest

from stacks.execution.tools.terraform import read_plan

DELETE, REPLACE, BEFORE = ["delete"], ["delete", "create"], ["create", "delete"]
CREATE, UPDATE, NO_OP, FORGET, READ = ["create"], ["update"], ["no-op"], ["forget"], ["read"]


def change(address: str, actions: list[str], **more: Any) -> dict[str, Any]:
    """Return an entry of `resource_changes`."""
    importing = more.pop("importing", None)
    values: dict[str, Any] = {"actions": actions}
    if importing:
        values["importing"] = importing
    return {"address": address, "mode": "managed", "change": values} | more


def prior(*addresses: str, below: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """Return `prior_state`; `more` is what it says of each resource besides."""
    child = {"child_modules": [{"address": "module.a", "resources": _managed(below, more)}]}
    root = {"resources": _managed(addresses, more), "child_modules": [child]}
    return {"format_version": "1.0", "values": {"root_module": root}}


def _managed(addresses: tuple[str, ...], more: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"address": one, "mode": "managed"} | more for one in addresses]


def destroys_everything(state: dict[str, Any] | None, *changes: dict[str, Any]) -> bool:
    plan = {"resource_changes": changes} | ({"prior_state": state} if state else {})
    summary = read_plan(json.dumps(plan).encode(), str)
    assert summary
    return summary.destroys_everything


@pytest.mark.parametrize(
    ("state", "changes", "expected"),
    [
        (prior("a", below=("module.a.b",)), [("a", DELETE), ("module.a.b", DELETE)], True),
        (prior("a", below=("module.a.b",)), [("a", DELETE), ("module.a.b", NO_OP)], False),
        # What is not among the changes stays.
        (prior("a", below=("module.a.b",)), [("a", DELETE)], False),
        (prior("a"), [("a", REPLACE)], True),
        (prior("a", "b"), [("a", BEFORE), ("b", DELETE), ("c", CREATE)], True),
        (prior("a", "b"), [("a", REPLACE), ("b", UPDATE)], False),
        (prior("a"), [("a", NO_OP)], False),
        (prior("a"), [("a", FORGET)], False),
        # Nothing that is managed is left.
        (prior("a", "b"), [("a", FORGET), ("b", DELETE)], True),
        (prior(), [("a", CREATE)], False),
        (prior(), [], False),
        (None, [("a", CREATE)], False),
        (None, [("a", DELETE)], True),
        (None, [("a", DELETE), ("b", NO_OP)], False),
    ],
)
def test_everything_is_destroyed_where_nothing_outlives_the_plan(
    state: dict[str, Any] | None, changes: list[tuple[str, list[str]]], expected: bool
) -> None:
    assert destroys_everything(state, *(change(*one) for one in changes)) == expected


def test_data_sources_are_no_resources() -> None:
    state = prior("a")
    data = {"address": "data.x", "mode": "data"}
    state["values"]["root_module"]["resources"].append(data)
    read = change("data.x", READ, mode="data")
    assert destroys_everything(state, change("a", DELETE), read)
    assert not destroys_everything(state, change("data.x", DELETE, mode="data"))


def test_a_deposed_object_is_one_of_its_own() -> None:
    deposed = change("a", DELETE, deposed="8a")
    assert not destroys_everything(prior("a"), deposed, change("a", NO_OP))
    left = prior("a", deposed_key="8a")
    assert destroys_everything(left, deposed, change("a", CREATE))
    assert not destroys_everything(left, change("a", CREATE))


def test_what_is_imported_was_not_in_the_state() -> None:
    state = prior("a", "b")
    imported = change("b", NO_OP, importing={"id": "1"})
    assert destroys_everything(state, change("a", DELETE), imported)
    assert not destroys_everything(state, change("a", UPDATE), imported)
