"""The changes of a plan, read from JSON that may be anything, and masked."""

import json
from typing import Any

import pytest
from django.db.models import CharField
from hypothesis import given
from hypothesis import strategies as st

from stacks.execution.output.masking import MASK, Masker
from stacks.execution.tools.plan_changes import MOST_CHARACTERS, Found, read_changes
from stacks.execution.tools.terraform import marks_sensitive, read_plan

pytestmark = pytest.mark.without_resources

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just("x\ud800\x00"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ACTIONS = st.sampled_from(["create", "update", "delete", "no-op", "?"])
CHANGE = st.fixed_dictionaries(
    {"actions": st.lists(ACTIONS, max_size=2)},
    optional=dict.fromkeys(
        ("before", "after", "after_unknown", "before_sensitive", "after_sensitive",
         "replace_paths", "importing"), JSON,
    ),
)  # fmt: skip
RESOURCE = st.fixed_dictionaries(
    {"address": JSON, "change": CHANGE | JSON},
    optional=dict.fromkeys(
        ("module_address", "type", "deposed", "action_reason", "previous_address"), JSON
    ),
)


def changes(plan: Any, mask: Any = str) -> list[Found] | None:
    """Return what is read of a plan; None if it is none."""
    summary = read_plan(json.dumps(plan).encode(), mask)
    return None if summary is None else list(read_changes(summary.entries, mask))


def one(mask: Any = str, **change: Any) -> Found:
    found = changes(
        {"resource_changes": [{"address": "a.b", "change": {"actions": ["update"]} | change}]}, mask
    )
    assert found
    return found[0]


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "resource_changes": st.lists(RESOURCE, max_size=3) | JSON,
            "resource_drift": st.lists(RESOURCE, max_size=3) | JSON,
            "output_changes": st.dictionaries(st.text(), CHANGE | JSON, max_size=2) | JSON,
        },
    )
)
def test_whatever_a_plan_holds_it_is_read_or_none(plan: Any) -> None:
    for found in changes(plan, Masker(["hunter22"]).mask) or []:
        row = found.change
        for text in (row.address, row.module, row.moved_from, row.search_text, str(found.values)):
            text.encode()  # as databases take it
            assert "\0" not in text
        columns = [field for field in row._meta.fields if isinstance(field, CharField)]
        assert [one for one in columns if len(getattr(row, one.name)) > (one.max_length or 0)] == []


def test_depth_and_size_are_bounded() -> None:
    deep: Any = "x"
    for _ in range(90):
        deep = [deep]
    found = one(
        before={"a": deep, "b": json.dumps(deep)}, after={"a": [deep], "b": json.dumps([deep])}
    )
    assert len(found.values["rows"]) == 2
    wide = one(before={}, after={"a": list(range(5_000))})
    assert len(wide.values["rows"]) == 300 and wide.values["left_out"] == 4_700
    long = one(before={}, after={"a": "x" * 100_000})
    assert len(long.values["rows"][0][2]) == 10_001


def test_a_deep_plan_of_many_values_is_read() -> None:
    """Nested lists that differ at their ends, each with long ones before."""
    many = 100_000
    found = one(before={"a": nested("x", many)}, after={"a": nested("y", many)})
    assert [row[1:3] for row in found.values["rows"]] == [['"x"', '"y"']]


def nested(end: str, many: int) -> Any:
    value: Any = [*range(many), end]
    for _ in range(80):
        value = [value]
    return value


# Secrets

SECRET = json.dumps({"user": "sa", "pin": "12345", "password": "Hunter2-Hunter2"})


@pytest.mark.parametrize(
    "value",
    [
        "Hunter2-Hunter2",
        {"deep": ["x", {"Hunter2-Hunter2": 1}]},
        SECRET,
        json.dumps({"inner": SECRET}),
        json.loads(SECRET),
        "line\nHunter2-\nHunter2\n",
        "SHVudGVyMi1IdW50ZXIy",
    ],
)
def test_a_secret_is_masked_wherever_it_is(value: Any) -> None:
    mask = Masker([SECRET]).mask
    found = one(mask, before={"a": value, "kept": "old"}, after={"a": "other", "kept": "new"})
    said = json.dumps(found.values) + found.change.search_text
    assert MASK in said and "other" in said
    for part in ("Hunter", "hunter", "SHVu", "12345"):
        assert part not in said
    assert ["kept", '"old"', '"new"', False] in found.values["rows"]


def test_a_secret_in_names_is_masked_too() -> None:
    mask = Masker(["Hunter2-Hunter2"]).mask
    name = "Hunter2-Hunter2"
    resource = {
        "address": f'a.b["{name}"]', "previous_address": f"a.{name}", "module_address": name,
        "type": name, "change": {
            "actions": ["delete", "create"], "before": {name: 1}, "after": {name: 2},
            "importing": {"id": name}, "replace_paths": [[name]],
        },
    }  # fmt: skip
    found = changes(
        {"resource_changes": [resource], "output_changes": {name: {"actions": ["create"]}}}, mask
    )
    assert found
    said = "".join(json.dumps(one.values) + repr(vars(one.change)) for one in found)
    assert name.casefold() not in said.casefold()


def test_a_sensitive_value_reaches_neither_rows_nor_values() -> None:
    found = one(
        before={"a": {"b": ["s3cr3t-old"]}, "copy": "url://s3cr3t-old@host"},
        after={"a": {"b": ["s3cr3t-new"]}, "json": json.dumps({"c": "s3cr3t-new"})},
        before_sensitive={"a": {"b": [True]}},
        after_sensitive={"a": {"b": [True]}},
    )
    said = json.dumps(found.values) + repr(vars(found.change))
    assert "s3cr3t" not in said
    assert ["a.b[0]", "(sensitive)", "(sensitive)", False] in found.values["rows"]


def test_values_in_all_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_CHARACTERS == 20_000_000
    monkeypatch.setattr("stacks.execution.tools.plan_changes.MOST_CHARACTERS", 100)
    resources = [
        {"address": f"a[{n}]", "change": {"actions": ["create"], "after": {"a": "x" * 60}}}
        for n in range(3)
    ]
    found = changes({"resource_changes": resources})
    assert found
    assert [one.values["unread"] for one in found] == [False, True, True]


def test_a_plan_without_marks_is_kept_without_values() -> None:
    # As Terraform 0.14 prints it: what the provider says is sensitive is not marked.
    plan = {
        "resource_changes": [
            {
                "address": "a.b",
                "change": {
                    "actions": ["delete", "create"],
                    "before": {"password": "in-the-state", "tags": {"in-a-key": 1}},
                    "after": {"password": "the-next-one"},
                    "after_unknown": {"id": True},
                    "replace_paths": [["password"]],
                },
            }
        ],
        "resource_drift": [
            {"address": "a.c", "change": {"actions": ["update"], "before": {"p": "in-the-state"}}}
        ],
        "output_changes": {
            "one": {"actions": ["update"], "before": "in-the-state", "after": "the-next-one"},
            "two": {"actions": ["delete"], "before": "in-the-state", "after": None},
        },
    }
    summary = read_plan(json.dumps(plan).encode(), str, hides_values=True)
    assert summary
    found = list(read_changes(summary.entries, str))
    assert [(one.values["rows"], one.values["hidden"]) for one in found] == [([], True)] * 4
    assert [one.change.address for one in found] == ["a.b", "one", "two", "a.c"]
    said = json.dumps(summary.listed) + str([(vars(one.change), one.values) for one in found])
    for value in ("in-the-state", "the-next-one", "in-a-key"):
        assert value not in said


@pytest.mark.parametrize(
    ("tool", "version", "marks"),
    [
        ("terraform", "0.14.11", False),
        ("terraform", "0.15.0-rc2", False),
        ("terraform", "0.15.0", False),
        ("terraform", "0.15.1", True),
        ("terraform", "1.11.4", True),
        ("opentofu", "1.6.0", True),
    ],
)
def test_which_versions_mark_what_is_sensitive(tool: str, version: str, marks: bool) -> None:
    assert marks_sensitive(tool, version) == marks
