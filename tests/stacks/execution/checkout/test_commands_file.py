"""Reading `.stackhook/config.yml`, also where it means harm."""

import pytest

from stacks.execution.checkout.commands_file import InvalidCommands, read_commands

BELOW = b"commands:\n  before_init: "


@pytest.mark.parametrize(
    ("content", "commands"),
    [
        (b"", {}),
        (b"# nothing yet\n", {}),
        (b"commands:\n", {}),
        (b"commands:\n  after_plan:\n", {"after_plan": []}),
        (BELOW + b"make", {"before_init": ["make"]}),
        (BELOW + b"[a, 'b c', 5, null]", {"before_init": ["a", "b c", "5", "null"]}),
        (
            BELOW + b"\n  - |\n    one\n    two\n  - 'x: y'\n",
            {"before_init": ["one\ntwo", "x: y"]},
        ),
        (BELOW + "ä".encode(), {"before_init": ["ä"]}),
        (BELOW + b"!!python/object/apply:os.system [id]", {"before_init": ["id"]}),
    ],
)
def test_commands_are_text_whatever_yaml_makes_of_them(
    content: bytes, commands: dict[str, list[str]]
) -> None:
    assert read_commands(content) == commands


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hooks: {}", "“hooks” in the file"),
        (b"commands: {before_int: a}", "“before_int” in commands"),
        (b'"\\e[31m\\n": a', "which Stackhook doesn't know"),
        (b"- a", "is not understood"),
        (b"commands: [a]", "is not understood"),
        (BELOW + b"{a: 1}", "has no list of commands for before_init"),
        (BELOW + b"[[a]]", "has no list of commands for before_init"),
        (BELOW + b"@x", "is no YAML in line 2"),
        (b"\xff\xfe\x00", "is no YAML that can be read"),
        (BELOW + b"[" + b"a, " * 21 + b"]", "has 21 commands"),
        (BELOW + b"x" * 2001, "more than 2000 characters"),
    ],
)
def test_what_is_wrong_is_named(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidCommands, match=reason):
        read_commands(content)


@pytest.mark.parametrize(
    "content",
    [
        b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        b"[" * 60_000,
        b"{" * 60_000,
        b"- " * 30_000,
        b"? " * 30_000,
        b"x" * 70_000,
        b"? [a]\n: b",
        b"commands: {before_init: &a [*a]}",
        b'%YAML 9.9\n--- "',
    ],
)
def test_a_file_of_commands_that_means_harm_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidCommands):
        read_commands(content)
