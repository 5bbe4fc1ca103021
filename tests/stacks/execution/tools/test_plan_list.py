"""The list of a plan: what happens to each resource, and what comes first."""

import json
from typing import Any

import pytest

from core.bounded_json import TooMuch
from stacks.execution.tools.plan_list import in_order, resource_row
from stacks.execution.tools.terraform import MOST_LISTED, read_json, read_plan

pytestmark = pytest.mark.without_resources


def resource(*actions: str, **more: Any) -> dict[str, Any]:
    importing = more.pop("importing", None)
    change = {"actions": list(actions)} | ({"importing": importing} if importing else {})
    return {"address": "a.b", "change": change, **more}


@pytest.mark.parametrize(
    ("changed", "row"),
    [
        (resource("no-op"), None),
        (resource("read", mode="data"), None),
        (resource("create"), {"action": "add"}),
        (resource("delete", "create"), {"action": "replace"}),
        (resource("create", "delete"), {"action": "replace"}),
        (resource("forget"), {"action": "forget"}),
        (resource("create", "forget"), {"action": "add", "also": "forget"}),
        (resource("no-op", importing={"id": "x"}), {"action": "import"}),
        (resource("update", importing={"id": "x"}), {"action": "change", "also": "import"}),
        (resource("no-op", previous_address="a.c"), {"action": "move", "moved_from": "a.c"}),
        (resource("update", previous_address="a.c"), {"action": "change", "moved_from": "a.c"}),
        (resource("no-op", previous_address="a.b"), None),
    ],
)
def test_what_happens_to_a_resource(changed: dict[str, Any], row: dict[str, str] | None) -> None:
    assert resource_row(changed) == (row and {"address": "a.b", **row})


def test_what_destroys_comes_first_and_2_before_10() -> None:
    rows = [
        {"address": address, "action": action}
        for address, action in (
            ("a[10]", "add"), ("a[2]", "add"), ("m", "move"), ("c", "change"), ("f", "forget"),
            ("i", "import"), ("z", "destroy"), ("b", "replace"),
        )
    ]  # fmt: skip
    listed = [row["address"] for row in in_order(rows)]
    assert listed == ["z", "b", "c", "a[2]", "a[10]", "i", "m", "f"]


def test_no_destroyed_resource_is_left_out_for_an_added_one() -> None:
    added = [{"address": f"a[{n}]", "change": {"actions": ["create"]}} for n in range(MOST_LISTED)]
    last = {"address": "z", "change": {"actions": ["delete"]}}
    plan = read_plan(json.dumps({"resource_changes": [*added, last]}).encode(), str)
    assert plan
    assert (plan.added, plan.destroyed, plan.left_out) == (MOST_LISTED, 1, 1)
    assert plan.resources[0] == {"address": "z", "action": "destroy"}


@pytest.mark.parametrize(
    "bomb",
    [b"[]," * 4_000_001, b"0," * 4_000_001, b"[" * 2000 + b"]" * 2000 + b","],
    ids=["lists", "numbers", "depth"],
)
def test_what_code_prints_as_its_plan_does_not_fill_the_workers_memory(bomb: bytes) -> None:
    printed = b'{"resource_changes":[' + bomb + b"0]}"
    with pytest.raises(TooMuch):
        read_json(printed)
    assert read_plan(printed, str) is None
