"""What the code of a run holds, found at one start of its sandbox, as each start takes long."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stacks.execution.checkout import lfs, project_root
from stacks.execution.checkout.project_root import ProjectRoot
from stacks.execution.failure import RunFailed
from stacks.execution.isolation.sandbox import Sandbox
from stacks.execution.isolation.system import MEGABYTE
from stacks.execution.versions import wanted
from stacks.models import Stack

LARGEST = 32 * MEGABYTE


@dataclass(frozen=True)
class Seen:
    """What was found: the pointers of Git LFS by their paths in the workspace, what the project
    root holds, and the content of the files that may say a version.
    """

    pointers: Sequence[str]
    root: ProjectRoot
    versions: Mapping[str, bytes]


def look(sandbox: Sandbox, stack: Stack, folder: str, is_unwanted: Callable[[], bool]) -> Seen:
    """Look into the code, and into its project root, a folder in the workspace.

    Raises RunFailed where there is no such folder, LimitReached and Stopped.
    """
    commands = [
        lfs.find_command(),
        project_root.list_command(sandbox, folder),
        wanted.find_command(stack, sandbox, folder),
    ]
    pointers, listed, versions = sandbox.collect_each(commands, is_unwanted, LARGEST)
    return Seen(
        lfs.read_pointers(*pointers),
        _root(stack, *listed),
        wanted.read_files(sandbox, versions[0]),
    )


def look_into_root(
    sandbox: Sandbox, stack: Stack, folder: str, is_unwanted: Callable[[], bool]
) -> ProjectRoot:
    """Look into the project root alone, as `look` does: commands may have changed it."""
    command = project_root.list_command(sandbox, folder)
    return _root(stack, *sandbox.collect(command, {}, is_unwanted, LARGEST))


def _root(stack: Stack, listed: bytes, code: int) -> ProjectRoot:
    if code == project_root.NO_FOLDER:
        raise RunFailed(
            f"The commit has no folder “{stack.project_root}”. Change the project root of the "
            f"stack, or add the folder."
        )
    return project_root.read_listing(listed)
