"""Paths that people give of files in a repository, relative to a project root."""

import posixpath
from collections.abc import Sequence


def is_setting(line: str) -> bool:
    """Say whether a line of a backend's configuration sets a value; else it names a file."""
    return "=" in line


def named_files(var_files: Sequence[str], backend_config: Sequence[str]) -> list[str]:
    """Return the files that a stack's arguments name, as they name them."""
    return [*var_files, *(line for line in backend_config if not is_setting(line))]


def in_repository(project_root: str, path: str) -> str | None:
    """Return where a path of a project root leads in the repository; None if it leads out of it.

    It may go up with `..`, as far as the top of the repository. Links are not followed.
    """
    found = posixpath.normpath(posixpath.join(project_root, path))
    is_out = found == ".." or found.startswith(("/", "../"))
    return None if is_out else found
