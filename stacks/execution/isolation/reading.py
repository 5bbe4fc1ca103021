"""Reading a file where a job could have put anything, by the worker itself."""

import os
import stat
from contextlib import ExitStack
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# What is no file, like a pipe without a writer, must not be waited for.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_beneath(top: Path, name: str, most: int) -> bytes:
    """Return the beginning of a file below a folder, up to so many bytes, following no link.

    Empty if there is none, or a link or anything else is in its place or on the way to it.
    """
    *folders, file = name.split("/")
    with ExitStack() as stack:

        def opened(name: str | Path, flags: int, place: int | None = None) -> int:
            descriptor = os.open(name, flags, dir_fd=place)
            stack.callback(os.close, descriptor)
            return descriptor

        place = opened(top, FOLDER)
        try:
            for one in folders:
                place = opened(one, FOLDER, place)
            descriptor = opened(file, FILE, place)
        except OSError:
            return b""
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        with os.fdopen(descriptor, "rb", closefd=False) as content:
            return content.read(most)
