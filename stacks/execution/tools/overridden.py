"""Inputs of a stack's environment that a file of the code sets, too: the file's value counts.

https://developer.hashicorp.com/terraform/language/values/variables has the order, which OpenTofu
shares: the environment, then `terraform.tfvars`, then the files that are loaded automatically, then
those that are named.
"""

import base64
import json
from collections.abc import Callable, Iterable, Sequence

from stacks.execution.isolation.sandbox import LimitReached, Sandbox
from stacks.execution.output.hcl import names_set_in
from stacks.execution.output.terminal import harmless

PREFIX = "TF_VAR_"
# Larger ones are not read, nor more in all: the warning is a help, not a guarantee.
LARGEST_FILE = 256 * 1024  # bytes
LARGEST_IN_ALL = 4 * 1024 * 1024
FIRST = ("terraform.tfvars", "terraform.tfvars.json")
AUTOMATIC = ("*.auto.tfvars", "*.auto.tfvars.json")


def warnings_of_overridden(
    names: Iterable[str],
    sandbox: Sandbox,
    folder: str,
    is_unwanted: Callable[[], bool],
    named: Sequence[str] = (),
) -> list[str]:
    """Return a sentence for each variable of these names that a file overrides.

    Files are those that are loaded automatically from a folder, and those that are named, seen
    from there. A file that can't be read overrides nothing. Raises Stopped.
    """
    inputs = sorted(name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX))
    if not inputs:
        return []
    sets: dict[str, str] = {}  # the last file that sets a name wins
    wanted = [part for name in (*FIRST, *AUTOMATIC) for part in ("-o", "-name", name)][1:]
    search = [".", "-maxdepth", "1", "-type", "f", "(", *wanted, ")"]
    for file, content in _files(search, sandbox, folder, is_unwanted):
        sets |= dict.fromkeys(_names_in(file, content), file)
    for path in named:
        search = [f"./{path}", "-maxdepth", "0", "-type", "f"]
        for _, content in _files(search, sandbox, folder, is_unwanted):
            sets |= dict.fromkeys(_names_in(path, content), path)
    return [
        f"{PREFIX}{one} has no effect: {sets[one]} sets {one}." for one in inputs if one in sets
    ]


def _files(
    search: Sequence[str], sandbox: Sandbox, folder: str, is_unwanted: Callable[[], bool]
) -> list[tuple[str, bytes]]:
    """Return name and content of each file of variables, in the order in which they are loaded.

    They are read inside, where no link leads to anything that the job can't read anyway.
    """
    command = [
        *("find", "-L", *search, "-size", f"-{LARGEST_FILE}c"),
        *("-printf", r"\0%f\0", "-exec", "base64", "-w0", "{}", ";"),
    ]
    try:
        found, _ = sandbox.collect(command, {}, is_unwanted, LARGEST_IN_ALL, folder)
    except LimitReached:
        return []
    parts = found.split(b"\0")[1:]
    encoded = dict(zip(parts[::2], parts[1::2], strict=False))
    order = {name.encode(): place for place, name in enumerate(FIRST)}
    names = sorted(encoded, key=lambda name: (order.get(name, len(FIRST)), name))
    return [(_shown(name), _decoded(encoded[name])) for name in names]


def _decoded(encoded: bytes) -> bytes:
    """Return what base64 encodes; nothing if reading the file broke off."""
    try:
        return base64.b64decode(encoded)
    except ValueError:
        return b""


def _names_in(file: str, content: bytes) -> set[str]:
    """Return the names that a file of variables sets."""
    text = content.decode(errors="replace")
    if not file.endswith(".json"):
        return names_set_in(text)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return set()
    return set(values) if isinstance(values, dict) else set()


def _shown(name: bytes) -> str:
    return " ".join(harmless(name.decode(errors="replace")).split())
