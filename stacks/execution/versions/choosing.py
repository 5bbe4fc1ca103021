"""Which program a run is planned and applied with."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings

from stacks.execution.tools.terraform import VARIABLES, binary
from stacks.execution.versions.downloading import download, newest_release
from stacks.execution.versions.installed import (
    Program,
    check_version,
    default_program,
    program_in_folder,
    programs_in_folder,
)
from stacks.execution.versions.wanted import STACK, NoVersion, Wanted, wanted_by, wanted_by_files
from stacks.models import Run, Tool
from stacks.rules.states import Kind, State
from stacks.rules.versions import Version, read_exact

WORKER = "the worker's default"
# The summary of the error for an unmet `required_version`, in internal/terraform of both tools.
_UNSUPPORTED = re.compile(r"Unsupported (?:Terraform|OpenTofu) Core version")


def choose(
    run: Run, folder: str, files: Mapping[str, bytes], is_unwanted: Callable[[], bool]
) -> tuple[Program, dict[str, Any]]:
    """Return the program for a run, and the fields that say so on the run.

    `folder` is the project root in the workspace, `files` are those that may say a version. An
    apply gets the version of its plan. Raises NoVersion, LimitReached and Stopped.
    """
    if run.state == State.APPLYING and run.tool_version:
        return _planned_with(run, is_unwanted), {}
    tool = Tool(run.stack.tool)
    wanted = wanted_by(run.stack, folder, files)
    is_of_code = wanted is not None and wanted.origin != STACK
    is_proposed = is_of_code and run.kind == Kind.PROPOSED
    program = _program(tool, wanted, is_unwanted, is_for_proposed_code=is_proposed)
    fields = {
        "tool": tool,
        "tool_version": str(program.version),
        "tool_version_from": wanted.origin if wanted else WORKER,
    }
    return program, fields


def choose_for_module(
    files: Mapping[str, bytes], is_unwanted: Callable[[], bool]
) -> tuple[Program, str]:
    """Return the program for the files of a module's folder, by name, and what says so.

    It is OpenTofu only where there is no Terraform. Raises NoVersion and Stopped.
    """
    has_only_opentofu = _is_there(Tool.OPENTOFU) and not _is_there(Tool.TERRAFORM)
    tool = Tool.OPENTOFU if has_only_opentofu else Tool.TERRAFORM
    wanted = wanted_by_files(tool, files)
    program = _program(tool, wanted, is_unwanted, is_for_proposed_code=True)
    return program, wanted.origin if wanted else WORKER


def _is_there(tool: Tool) -> bool:
    return bool(binary(tool) or programs_in_folder(tool))


def _planned_with(run: Run, is_unwanted: Callable[[], bool]) -> Program:
    """Return the program of a run's plan, which no other version may apply. Raises NoVersion."""
    tool, version = Tool(run.tool), read_exact(run.tool_version)
    found = _with_version(tool, version) if version else None
    if found is None and version and settings.TOOLS_DOWNLOAD:
        return download(tool, version, is_unwanted)
    if found is None:
        raise NoVersion(
            f"It was planned with {run.tool_with_version}, which this worker doesn't have any "
            f"more, so nothing was applied. Retry it to plan again, or ask the operator to "
            f"install that version."
        )
    return found


def _with_version(tool: Tool, version: Version) -> Program | None:
    default = default_program(tool)
    if default and default.version == version:
        return default
    found = program_in_folder(tool, version)
    if found:
        check_version(found)
    return found


def _program(
    tool: Tool,
    wanted: Wanted | None,
    is_unwanted: Callable[[], bool],
    *,
    is_for_proposed_code: bool,
) -> Program:
    """Return the program that meets what is wanted. Raises NoVersion."""
    default = default_program(tool)
    there = programs_in_folder(tool)
    if wanted is None and default:
        return default
    fitting = [one for one in there if wanted is None or wanted.constraint.allows(one.version)]
    if wanted and default and wanted.constraint.allows(default.version):
        if not wanted.is_choice:  # the code works with it, so nothing calls for another one
            return default
        fitting = [one for one in fitting if one.version != default.version] + [default]
    fitting = [one for one in fitting if not one.version.prerelease or wanted]
    if fitting:
        newest = max(fitting, key=lambda one: one.version)
        check_version(newest)
        return newest
    if settings.TOOLS_DOWNLOAD:
        release = newest_release(tool, wanted.constraint if wanted else None, is_unwanted)
        if release:
            return download(tool, release, is_unwanted, is_for_proposed_code=is_for_proposed_code)
        raise NoVersion(f"There is no release {tool.label} {wanted}. Name another version.")
    raise NoVersion(_missing(tool, wanted, [*there, *filter(None, [default])]))


def _missing(tool: Tool, wanted: Wanted | None, there: list[Program]) -> str:
    if wanted is None:
        return (
            f"{tool.label} is not installed on the worker's machine. Ask the operator to install "
            f"it, or to set {VARIABLES[tool]}."
        )
    versions = ", ".join(map(str, sorted({one.version for one in there}, reverse=True)[:10]))
    return (
        f"{tool.label} {wanted} is not on the worker's machine, which has "
        f"{versions or 'no version'}. Ask the operator to install it in TOOLS_FOLDER, or name "
        f"another version."
    )


def why_not_initialized(run: Run, printed: str) -> str:
    """Return why the initialization of a run failed, as far as the version is the reason."""
    if not _UNSUPPORTED.search(printed):
        return "The initialization failed."
    return (
        f"The code does not work with {run.tool_with_version} (from {run.tool_version_from}): "
        f"required_version asks for another one. Change the version, or required_version in the "
        f"code."
    )
