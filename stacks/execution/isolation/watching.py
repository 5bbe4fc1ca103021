"""What the processes of a job use together: measured, since rlimits count each on its own."""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from django.conf import settings

from stacks.execution.isolation.system import MEGABYTE

MEASURE_EVERY = 0.5  # seconds
MOST_FILES = 300_000
# What the kernel may keep for each: net.core.wmem_default (socket(7)), the capacity of a pipe
# (pipe(7)).
SOCKET_BYTES = 212_992
PIPE_BYTES = 65_536
# Whoever passes a file on takes less long than this many measurements.
MOST_IN_FLIGHT = 4


@dataclass
class Held:
    """What processes hold that has no name: bytes by device and inode, or by mapping."""

    memory: dict[object, int] = field(default_factory=dict)
    files: dict[object, int] = field(default_factory=dict)
    in_flight: int = 0

    def add(self, found: os.stat_result) -> None:
        """Add what a descriptor or a mapping leads to."""
        kind = stat.S_IFMT(found.st_mode)
        key = (found.st_dev, found.st_ino)
        if kind == stat.S_IFSOCK:
            self.memory[key] = SOCKET_BYTES
        elif kind == stat.S_IFIFO:
            self.memory[key] = PIPE_BYTES
        elif found.st_nlink == 0:
            is_memory = found.st_dev == shared_memory()
            (self.memory if is_memory else self.files)[key] = found.st_blocks * 512


class Watch:
    """Measures one job: what it writes below some folders, and what its processes hold."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.measured_at = time.monotonic()
        self.times_in_flight = 0

    def exceeded(self, pid: int) -> str:
        """Say which limit a process and all below it exceed, if any, in a sentence."""
        if time.monotonic() < self.measured_at + MEASURE_EVERY:
            return ""
        processes = descendants(pid)
        held = held_by(processes)
        memory = sum(map(memory_of, processes)) + sum(held.memory.values())
        if memory > settings.RUN_MEMORY_MB * MEGABYTE:
            return f"It needed more than {settings.RUN_MEMORY_MB} MB of memory."
        used = files = 0
        for size in (*held.files.values(), *self._written()):
            used, files = used + size, files + 1
            if used > settings.RUN_DISK_MB * MEGABYTE:
                return f"It needed more than {settings.RUN_DISK_MB} MB of disk."
            if files > MOST_FILES:
                return f"It made more than {MOST_FILES} files."
        self.times_in_flight = self.times_in_flight + 1 if held.in_flight else 0
        if self.times_in_flight >= MOST_IN_FLIGHT:
            return "It kept open files in a socket, where no limit counts them."
        self.measured_at = time.monotonic()
        return ""

    def _written(self) -> Iterator[int]:
        """Yield what each file and folder uses of the disk."""
        waiting = list(self.folders)
        while waiting:
            with suppress(OSError), os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    with suppress(OSError):
                        yield entry.stat(follow_symlinks=False).st_blocks * 512
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(Path(entry.path))


def held_by(processes: Sequence[int]) -> Held:
    """Return what processes hold open or mapped, what several of them hold once."""
    held = Held()
    for process in (Path("/proc", str(pid)) for pid in processes):
        for descriptor in listed(process / "fd"):
            with suppress(OSError):
                found = descriptor.stat()
                held.add(found)
                if stat.S_ISSOCK(found.st_mode):
                    held.in_flight += in_flight(process / "fdinfo" / descriptor.name)
        for mapping in listed(process / "map_files"):
            with suppress(OSError):
                add_mapping(held, mapping)
    return held


def add_mapping(held: Held, mapping: Path) -> None:
    """Add an entry of /proc/<pid>/map_files; without root, only the part that is mapped."""
    try:
        held.add(mapping.stat())
    except PermissionError:
        target = str(mapping.readlink())
        if target.endswith(" (deleted)"):
            start, end = (int(address, 16) for address in mapping.name.split("-"))
            is_memory = target.startswith(("/dev/zero ", "/memfd:", "/SYSV"))
            (held.memory if is_memory else held.files)[target, mapping.name] = end - start


def listed(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from folder.iterdir()


def in_flight(info: Path) -> int:
    """Return how many descriptors wait in a socket: scm_fds in its fdinfo, from Linux 5.6 on."""
    for line in info.read_text().splitlines():
        if line.startswith("scm_fds:"):
            return int(line.split()[1])
    return 0


@cache
def shared_memory() -> int:
    """Return the device on which the kernel keeps memory that is shared by mapping."""
    descriptor = os.memfd_create("stackhook")
    try:
        return os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)


def descendants(pid: int) -> list[int]:
    """Return a process and all that it started, in any generation."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, ValueError):
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def memory_of(pid: int) -> int:
    """Return the bytes of memory that a process takes, those it shares divided by the sharers."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
