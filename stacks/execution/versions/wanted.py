"""Which version of its tool a run wants: as its stack says, or else as its code says.

Files of the code are read inside the sandbox, where a link leads nowhere that the job can't read
anyway, and only up to a limit: Terraform and OpenTofu check `required_version` themselves.
"""

import base64
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from typing import Any

from core import bounded_json
from stacks.execution.checkout.project_root import SUFFIXES
from stacks.execution.checkout.workspace import CODE
from stacks.execution.isolation.sandbox import Sandbox
from stacks.execution.output.hcl import required_versions
from stacks.execution.output.terminal import harmless
from stacks.models import Stack, Tool
from stacks.rules.versions import Constraint, InvalidVersion, read_choice, read_constraint
from stacks.tfstate.files import MOST_PARTS

STACK, REQUIRED_VERSION = "the stack's settings", "required_version"
# Read by version managers of each tool: tfenv, tofuenv and tenv.
VERSION_FILES = {Tool.TERRAFORM: ".terraform-version", Tool.OPENTOFU: ".opentofu-version"}
LARGEST_FILE = 256 * 1024  # bytes; larger ones are not read, nor more in all
LARGEST_IN_ALL = 4 * 1024 * 1024


class NoVersion(Exception):
    """A run has no program that it could use; the text says why, and what to do."""


@dataclass(frozen=True)
class Wanted:
    """What the version of a run's tool has to meet, and who says so.

    `is_choice` is False for what only says with which versions the code works.
    """

    constraint: Constraint
    origin: str
    is_choice: bool = True

    def __str__(self) -> str:
        return f"{self.constraint} (from {self.origin})"


def wanted_by(stack: Stack, folder: str, files: Mapping[str, bytes]) -> Wanted | None:
    """Return what a stack, or else the code in its project root, says; None if that is nothing.

    `folder` is the project root in the workspace, `files` are what `find_command` found. Raises
    NoVersion.
    """
    if stack.tool_version:
        return Wanted(read_constraint(stack.tool_version), STACK)
    name = VERSION_FILES[Tool(stack.tool)]
    for place in (folder, CODE):
        if (content := files.get(f"{place}/{name}")) is not None:
            return _wanted_by_file(name, content)
    return _wanted_by_code(files)


def wanted_by_files(tool: Tool, files: Mapping[str, bytes]) -> Wanted | None:
    """Return what the files of a folder say, by their names; None if that is nothing.

    Raises NoVersion.
    """
    files = {name: content for name, content in files.items() if len(content) < LARGEST_FILE}
    if (content := files.get(VERSION_FILES[tool])) is not None:
        return _wanted_by_file(VERSION_FILES[tool], content)
    code = {name: content for name, content in files.items() if name.endswith(SUFFIXES[tool])}
    return _wanted_by_code(code)


def find_command(stack: Stack, sandbox: Sandbox, folder: str) -> list[str]:
    """Return the command that prints the files that may say a version, as far as that is bounded.

    Nothing is read where the stack says it.
    """
    if stack.tool_version:
        return ["true"]
    tool = Tool(stack.tool)
    suffixes = [part for one in SUFFIXES[tool] for part in ("-o", "-name", f"*{one}")][1:]
    is_code = ["(", *suffixes, ")", "-exec", "grep", "-qs", REQUIRED_VERSION, "{}", ";"]
    places = dict.fromkeys([folder, f"{CODE}/{VERSION_FILES[tool]}"])
    find = [
        *("find", "-L", *(sandbox.path("workspace", place) for place in places)),
        *("-maxdepth", "1", "-type", "f", "-size", f"-{LARGEST_FILE}c"),
        *("(", "-name", VERSION_FILES[tool], "-o", *is_code, ")"),
        *("-printf", r"\0%p\0", "-exec", "base64", "-w0", "{}", ";"),
    ]
    return ["sh", "-c", f'"$@" | head -c {LARGEST_IN_ALL}', "find", *find]


def read_files(sandbox: Sandbox, printed: bytes) -> dict[str, bytes]:
    """Return the content of the files that `find_command` printed, by their path there."""
    if len(printed) >= LARGEST_IN_ALL:
        return {}
    top = sandbox.path("workspace")
    files = {}
    parts = printed.split(b"\0")[1:]
    for path, encoded in zip(parts[::2], parts[1::2], strict=False):
        name = path.decode(errors="replace").removeprefix(top).lstrip("/")
        with suppress(ValueError):  # reading it broke off
            files[name] = base64.b64decode(encoded)
    return files


def _wanted_by_file(name: str, content: bytes) -> Wanted:
    """Read a file that holds a version. Raises NoVersion."""
    lines = content.decode(errors="replace").splitlines()
    said = next((line.strip() for line in lines if line.strip() and line.lstrip()[0] != "#"), "")
    try:
        return Wanted(read_choice(said), name)
    except InvalidVersion:
        raise NoVersion(
            f"{name} says “{harmless(said[:50])}”, which is not a version. Write a whole version "
            f"like 1.11.4 there, or a constraint like ~> 1.11, or name one under Configure backend."
        ) from None


def _wanted_by_code(files: Mapping[str, bytes]) -> Wanted | None:
    """Read `required_version`; what is none, the tool complains about itself."""
    constraints = []
    for name, content in files.items():
        for text in _required_by(name, content):
            try:
                constraints.append(read_constraint(text))
            except InvalidVersion:
                return None
    if not constraints:
        return None
    together = reduce(Constraint.__and__, constraints)
    return Wanted(together, REQUIRED_VERSION, is_choice=False)


def _required_by(name: str, content: bytes) -> list[str]:
    if not name.endswith(".json"):
        return required_versions(content.decode(errors="replace"))
    try:
        blocks = bounded_json.loads(content, MOST_PARTS).get("terraform")
    except (ValueError, AttributeError):
        return []
    listed: list[Any] = blocks if isinstance(blocks, list) else [blocks]
    found = [block.get(REQUIRED_VERSION) for block in listed if isinstance(block, dict)]
    return [text for text in found if isinstance(text, str)]
