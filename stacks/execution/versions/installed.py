"""Which versions of Terraform and OpenTofu this machine has: a program each."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from stacks.execution.isolation.system import SYSTEM_PATH
from stacks.execution.tools.terraform import PROGRAMS, binary, read_json
from stacks.execution.versions.wanted import NoVersion
from stacks.models import Tool
from stacks.rules.versions import Version, read_exact

SECONDS = 60  # for a program to say its version


@dataclass(frozen=True)
class Program:
    """A program of a version; `files` are what it needs beside itself, like a library."""

    tool: Tool
    version: Version
    path: Path
    files: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"{self.tool.label} {self.version}"


def default_program(tool: Tool) -> Program | None:
    """Return the one of TERRAFORM_BIN or TOFU_BIN, or of the system's path; None without one.

    Raises NoVersion if it does not say its version.
    """
    found = binary(tool)
    return Program(tool, version_of(Path(found)), Path(found)) if found else None


def programs_in_folder(tool: Tool) -> list[Program]:
    """Return those of TOOLS_FOLDER, each in a folder of its version, in no order."""
    with suppress(OSError):
        return list(_programs(tool, folder_of(tool))) if settings.TOOLS_FOLDER else []
    return []


def program_in_folder(tool: Tool, version: Version) -> Program | None:
    """Return the one of TOOLS_FOLDER that has a version, if there is one."""
    found = (one for one in programs_in_folder(tool) if one.version == version)
    return next(found, None)


def describe_programs(tool: Tool) -> str:
    """Return a line on what this machine has of a tool, for the start of a worker."""
    try:
        default = default_program(tool)
    except NoVersion as error:
        return str(error)
    shown = f"{default.path} ({default.version})" if default else "not found"
    further = sorted((one.version for one in programs_in_folder(tool)), reverse=True)
    versions = ", ".join(map(str, further))
    return f"{tool.label}: {shown}" + (f", {versions} in TOOLS_FOLDER" if versions else "")


def folder_of(tool: Tool) -> Path:
    """Return the folder below TOOLS_FOLDER that holds the versions of a tool."""
    return Path(settings.TOOLS_FOLDER, PROGRAMS[tool])


def _programs(tool: Tool, folder: Path) -> Iterator[Program]:
    for one in folder.iterdir():
        version, path = read_exact(one.name), one / PROGRAMS[tool]
        if version and str(version) == one.name and os.access(path, os.X_OK):
            beside = sorted(file for file in one.iterdir() if file.is_file() and file != path)
            yield Program(tool, version, path, tuple(beside))


def check_version(program: Program) -> None:
    """Raise NoVersion unless a program is of the version that the name of its folder says."""
    said = version_of(program.path)
    if said != program.version:
        raise NoVersion(
            f"{program.path} is {program.tool.label} {said}, and its folder is named "
            f"{program.version}. Ask the operator to correct the folder."
        )


def version_of(path: Path) -> Version:
    """Return what a program of the operator says is its version. Raises NoVersion.

    It is asked once, until it is another file.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise NoVersion(f"{path} can't be read: {error.strerror}. Ask the operator.") from error
    return _ask(str(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


@lru_cache
def _ask(path: str, *_identity: int) -> Version:
    """Return what a program says is its version. What it raises is not kept."""
    environment = {"PATH": SYSTEM_PATH, "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    try:
        done = subprocess.run(
            [path, "version", "-json"],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
        )
        version = read_exact(str(read_json(done.stdout)["terraform_version"]))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        version = None
    if version is None:
        raise NoVersion(
            f"{path} does not say its version: “version -json” failed. Ask the operator to "
            f"replace it."
        )
    return version
