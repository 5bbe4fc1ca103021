"""Remove the folders of jobs, whatever jobs left there: any depth, any path length, any mode."""

import logging
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

# Folders that could not be removed are renamed to this, so that nobody tries over and over.
SET_ASIDE = "not-removed-"
SECONDS = 300
MEMORY = 1024 * 1024 * 1024
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
# Both walk by descriptor and without recursion. Without root, modes may bar the owner, too.
REMOVE = """
[ "$(id -u)" = 0 ] || chmod -R u+rwx -- "$1" 2>/dev/null
exec rm -rf --one-file-system -- "$1"
"""


def remove(folder: Path, report: Callable[[str], object] = logger.error) -> None:
    """Remove a job's folder in a bounded process; set it aside, and report it, if that fails.

    Raises nothing.
    """
    limits = ["timeout", "--signal=KILL", str(SECONDS), "prlimit", f"--as={MEMORY}", "--"]
    command = [*limits, "sh", "-c", REMOVE, "remove", str(folder)]
    try:
        # What it prints may name every file of the job.
        subprocess.run(
            command,
            env={"PATH": SYSTEM_PATH},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        logger.exception("Removing %s failed", folder)
    if not os.path.lexists(folder):
        return
    left = folder
    with suppress(OSError):
        left = folder.rename(folder.with_name(SET_ASIDE + folder.name))
    report(f"The folder of a job could not be removed. Remove it by hand: {left}")


def set_aside(top: Path) -> list[Path]:
    """Return the folders that could not be removed, and that the operator has to remove."""
    return sorted(top.glob(f"{SET_ASIDE}*"))
