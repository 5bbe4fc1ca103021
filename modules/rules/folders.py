"""Whether a change is about a module: its folder decides."""

from collections.abc import Collection


def touches(folder: str, paths: Collection[str] | None) -> bool:
    """Say whether changed files may be in a folder; unknown ones (None) may be anywhere.

    A submodule among them has a slash at its end, and may be around the folder.
    """
    if not folder or paths is None:
        return True
    below = f"{folder}/"
    return any(
        path.startswith(below) or (path.endswith("/") and below.startswith(path)) for path in paths
    )
