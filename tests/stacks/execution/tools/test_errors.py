"""The errors of a failed run, read from what Terraform and git printed."""

import pytest

from stacks.execution.output.masking import MASK, Masker
from stacks.execution.tools.errors import (
    MOST_LINES,
    SEARCHED,
    Tail,
    last_lines,
    terraform_errors,
    what_to_do,
)

pytestmark = pytest.mark.without_resources

MISSING = """Error: No value for required variable

  on main.tf line 1:
   1: variable "a" {}

The root module input variable "a" is not set, and has no default value."""
INVALID = """Error: Invalid value for variable

  on main.tf line 2:
   2: variable "b" {
    ├────────────────
    │ var.b is "x"

It must be something else."""
WARNING = """Warning: Argument is deprecated

  on main.tf line 9:"""


def boxed(*blocks: str) -> str:
    """Return what Terraform prints with colors."""
    red, end = "\x1b[31m", "\x1b[0m"
    printed = ""
    for block in blocks:
        printed += f"{red}╷{end}{end}\n"
        for line in block.split("\n"):
            kind, colon, rest = line.partition(": ")
            if kind in {"Error", "Warning"}:
                line = f"{end}\x1b[1m{red}{kind}{colon}{end}{end}\x1b[1m{rest}{end}"
            printed += f"{red}│{end} {end}{line}\n"
        printed += f"{red}╵{end}{end}\n"
    return printed


def errors(printed: str, *secrets: str) -> str:
    tail = Tail()
    tail.write(printed.encode())
    return terraform_errors(tail.text, Masker(secrets).mask)


SHOWN = """Error: No value for required variable

  on main.tf line 1:
   1: variable "a" {}

The root module input variable "a" is not set, and has no default value.

Error: Invalid value for variable

  on main.tf line 2:
   2: variable "b" {
    var.b is "x"

It must be something else."""


@pytest.mark.parametrize(
    "printed",
    [
        boxed(MISSING, INVALID),
        boxed(WARNING, MISSING, WARNING, INVALID, WARNING),
        boxed(MISSING, INVALID, MISSING),
        f"\n{MISSING}\n\n{INVALID}\n",
        f"\x1b[31m\n{WARNING}\n\n{MISSING}\n\n{INVALID}\n\n{WARNING}\n",
        boxed(
            "Error: Terraform encountered problems during initialisation, including problems\n"
            "with the configuration, described below.",
            MISSING,
            INVALID,
        ),
    ],
    ids=["boxed", "among warnings", "twice", "plain", "plain among warnings", "preamble"],
)
def test_errors_are_shown_with_their_places_and_nothing_else(printed: str) -> None:
    assert errors(f"Initializing the backend...\nError-prone: no\n{printed}") == SHOWN


def test_warnings_alone_and_ordinary_lines_are_no_errors() -> None:
    assert errors(boxed(WARNING) + "terraform_data.a (local-exec): Error: no\nKilled\n") == ""


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (
            "!!!! TERRAFORM CRASH !!!!\n\npanic: runtime error: invalid memory address\n"
            "[signal SIGSEGV]\n\ngoroutine 1 [running]:\nmain.main()\n",
            "panic: runtime error: invalid memory address\n[signal SIGSEGV]",
        ),
        (
            "fatal error: runtime: out of memory\n\nruntime stack:\n",
            "fatal error: runtime: out of memory",
        ),
        (
            boxed("Error: Plugin did not respond") + "\npanic: oh\n\ngoroutine 1 [running]:\n",
            "Error: Plugin did not respond\npanic: oh",
        ),
    ],
)
def test_a_crash_is_an_error(printed: str, shown: str) -> None:
    assert errors(printed) == shown


def test_many_errors_are_cut_and_the_rest_is_counted() -> None:
    blocks = [f"Error: Number {number}\n\n  on main.tf line {number}:" for number in range(20)]
    lines = errors(boxed(*blocks)).split("\n")
    assert len(lines) <= MOST_LINES
    assert lines[:4] == ["Error: Number 0", "", "  on main.tf line 0:", ""]
    shown = sum(line.startswith("Error: ") for line in lines)
    assert lines[-1] == f"… the log has {20 - shown} more errors."
    one = errors(boxed("Error: Long\n\n" + "\n".join(map(str, range(50))) + "\n" + "x" * 9000))
    assert one.split("\n")[-1] == "… the log has more of it."
    assert len(one.split("\n")) == MOST_LINES
    assert len(errors(boxed("Error: " + "x" * 9000))) < 600


@pytest.mark.parametrize(
    ("printed", "secret"),
    [
        ("Error: It is hunter2-secret now", "hunter2-secret"),
        (
            "Error: A phrase\n\nIt is correct horse\nbattery staple now.",
            "correct horse battery staple",
        ),
        ("Error: Two lines\n\n  one of two\n  two of two", "one of two\ntwo of two"),
        ("Error: Colored\n\n\x1b[1mhunter2\x1b[0m-secret", "hunter2-secret"),
        ("Error: Hidden\n\nhunter2\u200e-secret", "hunter2-secret"),
        ("Error: " + "x" * 490 + "hunter2-secret", "hunter2-secret"),
    ],
    ids=["plain", "wrapped", "lines", "colored", "hidden", "cut"],
)
@pytest.mark.parametrize("box", [True, False])
def test_no_secret_is_in_an_error(printed: str, secret: str, box: bool) -> None:
    shown = errors(boxed(printed) if box else printed, secret)
    assert MASK[:3] in shown
    for part in ("hunter2", "horse", "battery", "of two"):
        assert part not in shown


def test_a_secret_that_looks_like_a_word_of_terraform_hides_no_error() -> None:
    assert errors(boxed("Error: It broke"), "Error").startswith(MASK)


def test_only_whole_lines_of_the_end_are_searched() -> None:
    tail = Tail()
    for _ in range(40):
        tail.write(b"Error: early and long\n" + b"x" * (SEARCHED // 20))
    tail.write(b"\nError: late\n")
    found = terraform_errors(tail.text, Masker([]).mask)
    assert "Error: late" in found
    tail.clear()
    assert tail.text == ""


def said_by_git(printed: str, *secrets: str) -> str:
    tail = Tail()
    tail.write(printed.encode())
    return last_lines(tail.text, Masker(secrets).mask)


def test_what_git_said_is_shown_once_without_its_progress() -> None:
    said = "remote: TF401019: It is gone.\nfatal: repository 'https://x/' not found\n"
    progress = "Receiving objects:   0% (0/2)\rReceiving objects: 100% (2/2), done.\n"
    shown = "remote: TF401019: It is gone.\nfatal: repository 'https://x/' not found"
    assert said_by_git(f"{said}{progress}\n\x1b[31m{said}\x1b[0m{said}") == shown
    assert said_by_git("") == said_by_git("\n \n") == said_by_git(progress) == ""


def test_of_all_that_git_said_the_end_is_shown() -> None:
    lines = said_by_git("".join(f"remote: {number}\n" for number in range(99))).split("\n")
    assert lines == [f"remote: {number}" for number in range(99 - MOST_LINES, 99)]
    assert len(said_by_git("fatal: " + "x" * 9000)) < 600


@pytest.mark.parametrize(
    ("printed", "secret"),
    [
        ("fatal: hunter2-secret is wrong\n", "hunter2-secret"),
        ("one of two\ntwo of two\nfatal: it\n", "one of two\ntwo of two"),
        ("one of two\n" + "two of two\n" * 2 + "fatal: it\n" * 29, "one of two\ntwo of two"),
    ],
    ids=["plain", "lines", "cut"],
)
def test_no_secret_is_in_what_git_said(printed: str, secret: str) -> None:
    shown = said_by_git(printed, secret)
    assert "fatal: " in shown
    for part in secret.split("\n"):
        assert part not in shown


def test_an_input_without_a_value_is_to_be_set_in_the_environment() -> None:
    error = (
        'Error: No value for required variable\n\nThe root module input variable "{}" is not set, '
        "and has no\ndefault value. Use a -var or -var-file command line argument to provide a\n"
        "value for this variable."
    )
    text = "\n\n".join(map(error.format, ["a-b", "größe", "a-b"]))
    said = what_to_do(terraform_errors(text, str))
    assert said == (
        "Set TF_VAR_a-b, TF_VAR_größe in the stack's environment, or name a variable file in its "
        "arguments."
    )
    assert what_to_do("Error: something else") == ""
