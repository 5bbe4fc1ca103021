"""What differs between two values of JSON, and what of it is shown."""

import json
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacks.rules.line_diff import Line, LineDiff
from stacks.rules.value_diff import (
    differences,
    hide_again,
    path_text,
    value_text,
    with_sensitive,
    with_unknown,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def told(old: Any, new: Any) -> dict[str, tuple[str | None, str | None]]:
    return {
        path_text(one.path): (value_text(one.old), value_text(one.new))
        for one in differences(old, new, ("a",))
    }


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (1, 1, {}),
        (None, None, {}),
        (1, True, {"a": ("1", "true")}),
        (1, 1.0, {"a": ("1", "1.0")}),
        ("x", None, {"a": ('"x"', None)}),
        (None, {}, {"a": (None, "{}")}),
        ({"b": 1, "c": 2}, {"b": 1, "c": 3}, {"a.c": ("2", "3")}),
        (None, {"b": {"c": 1}}, {"a.b.c": (None, "1")}),
        ({"x.y": 1, "é": 1}, {}, {'a["x.y"]': ("1", None), "a.é": ("1", None)}),
        ([1, 2, 3], [2, 3], {"a[0]": ("1", None)}),
        ([1, 2], [1, 2, 3], {"a[2]": (None, "3")}),
        ([1, 2, 3], [1, 9, 3], {"a[1]": ("2", "9")}),
        ([{"b": 1}], [{"b": 2}], {"a[0].b": ("1", "2")}),
        ([1], {"b": 1}, {"a": ("[\n  1\n]", '{\n  "b": 1\n}')}),
        ('{"b": [1]}', '{"b": [2]}', {"jsondecode(a).b[0]": ("1", "2")}),
        (None, '{"b": 1}', {"jsondecode(a).b": (None, "1")}),
        ('{"b": 1}', '{"b":1}', {"a": (r'"{\"b\": 1}"', r'"{\"b\":1}"')}),
        ('{"b": 1}', "b", {"a": (r'"{\"b\": 1}"', '"b"')}),
        # Which of two counts, only the reader of the text decides.
        ('{"b": 1, "b": 2}', '{"b": 2}', {"a": (r'"{\"b\": 1, \"b\": 2}"', r'"{\"b\": 2}"')}),
        ("one\ntwo", "one", {"a": ("one\ntwo", '"one"')}),
        ("a\u202eb", "a\rb", {"a": (r'"a\u202eb"', r'"a\rb"')}),
        ("x\n\u200b\r", "x\n", {"a": ("x\n" + r"\u200b\u000d", r'"x\n"')}),
        ("\U000e0041", None, {"a": (r'"\U000e0041"', None)}),
        ("\ud800", "\x1b[31m", {"a": (r'"\ud800"', r'"\u001b[31m"')}),
    ],
)
def test_values_differ_path_by_path(old: Any, new: Any, expected: Any) -> None:
    assert told(old, new) == expected


@pytest.mark.parametrize(
    ("value", "tree", "shown"),
    [
        ("x", True, '"(sensitive)"'),
        ("x", False, '"x"'),
        (None, True, "null"),
        ({"b": "x", "c": "y"}, {"b": True}, '{"b": "(sensitive)", "c": "y"}'),
        ([["x"], ["y"]], [[False], [True]], '[["x"], ["(sensitive)"]]'),
        ([1, 2], [True], '["(sensitive)", 2]'),
        # A tree that doesn't fit hides all of the value, unless it marks nothing.
        ("x", {"b": True}, '"(sensitive)"'),
        ({"b": "x"}, [True], '"(sensitive)"'),
        ({"b": "x"}, "yes", '"(sensitive)"'),
        ([{"b": "x"}], {"b": {"c": [1]}}, '"(sensitive)"'),
        ({"b": "x"}, [False, {}], '{"b": "x"}'),
    ],
)
def test_what_is_sensitive_is_hidden(value: Any, tree: Any, shown: str) -> None:
    assert json.dumps(with_sensitive(value, tree), default=str) == shown
    assert json.dumps(with_sensitive(value, {}, tree), default=str) == shown


def test_a_sensitive_value_is_compared_and_not_shown() -> None:
    old, new, same = (with_sensitive({"a": one}, {"a": True})["a"] for one in ("x", "y", "x"))
    assert told(old, new) == {"a": ("(sensitive)", "(sensitive)")}
    assert told(old, same) == {}
    assert set(f"{old}{value_text([old])}".strip("[] \n").split()) == {
        "(sensitive)[",
        '"(sensitive)"',
    }
    assert "hush" not in repr(with_sensitive("hush", True))


def test_a_copy_of_what_is_sensitive_is_hidden_too() -> None:
    old = with_sensitive({"a": "hunter22", "b": "hunter22", "c": "is hunter22!"}, {"a": True})
    new = with_sensitive({"a": "prod", "b": ["prod"], "c": "production"}, {"a": True})
    shown = json.dumps(hide_again([old, new]), default=str)
    assert "hunter22" not in shown
    assert '"b": ["(sensitive)"], "c": "production"' in shown


@pytest.mark.parametrize(
    ("value", "unknown", "shown"),
    [
        ({"a": 1}, {"b": True}, '{"a": 1, "b": "(known after apply)"}'),
        ([1], [False, True], '[1, "(known after apply)"]'),
        ([1, 2], [True], '["(known after apply)", 2]'),
        (None, True, '"(known after apply)"'),
        ({"a": {"b": 1}}, {"a": {"c": True}}, '{"a": {"b": 1, "c": "(known after apply)"}}'),
        ("x", "yes", '"x"'),
    ],
)
def test_what_is_not_known_yet_is_told(value: Any, unknown: Any, shown: str) -> None:
    assert json.dumps(with_unknown(value, unknown), default=str) == shown


@given(JSON, JSON, JSON, JSON)
def test_any_values_are_compared(old: Any, new: Any, tree: Any, unknown: Any) -> None:
    hidden = hide_again(
        [with_sensitive(old, tree), with_sensitive(with_unknown(new, unknown), tree)]
    )
    for path, pair in told(*hidden).items():
        assert not {category(one) for one in f"{path}{pair}"} & {"Cc", "Cs", "Zl", "Zp"}


@given(st.dictionaries(st.text(min_size=1), JSON, min_size=1), JSON)
def test_nothing_of_a_value_that_is_marked_as_a_whole_is_shown(value: Any, other: Any) -> None:
    for pair in told(with_sensitive(value, True), with_sensitive(other, True)).values():
        assert set(pair) <= {None, "(sensitive)"}


def test_lines_are_compared_with_some_around_them() -> None:
    old = [str(n) for n in range(12)]
    new = [*old[:5], "five", *old[6:11], "12"]
    lines = LineDiff().compare("\n".join(old), "\n".join(new))
    assert [f"{line.sign}{line.text}" for line in lines] == [
        "None", "2", "3", "4", "-5", "+five", "6", "7", "8", "9", "10", "-11", "+12",
    ]  # fmt: skip


def test_what_would_take_long_to_compare_went_and_came_as_a_whole() -> None:
    old, new = (f"{one}\nsame\n" * 5_000 for one in "ab")
    assert {line.sign for line in LineDiff().compare(old, new)} == {"", "-", "+"}
    diff = LineDiff()
    shapes = [diff.compare("\n".join("abc" * 60), "\n".join("bca" * 60)) for _ in range(9)]
    assert Line("", "b") in shapes[0]
    assert len([line for line in shapes[-1] if line.sign]) > 300
