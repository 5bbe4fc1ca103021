"""Limits that the kernel enforces on all processes of a job together: cgroups v2.

They count what no process shows: shared memory, tmpfs, buffers of pipes and sockets, and files in
flight. A worker uses them where its own cgroup is delegated to it with the controllers memory and
pids, perhaps io, as systemd does with `Delegate=memory pids io`. Files and rules are those of the
kernel's admin-guide/cgroup-v2.rst.
"""

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

CONTROLLERS = ("memory", "pids")
# Where this one is delegated, too, jobs get the disk after the worker, whose weight is 100.
DISK = "io"
DISK_WEIGHT = "default 10"
# A cgroup that has children with limits has no processes of its own: the worker moves there.
WORKER = "stackhook-worker"
REMOVE_SECONDS = 5
JOIN = 'echo $$ > "$0" && exec "$@"'


class Group:
    """The cgroup of one command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def joined(self, command: Sequence[str]) -> list[str]:
        """Return a command that joins the cgroup, then does what the given one does."""
        return ["sh", "-c", JOIN, str(self.path / "cgroup.procs"), *command]

    def ran_out_of_memory(self) -> bool:
        events = (self.path / "memory.events").read_text()
        return re.search(r"^oom_kill [1-9]", events, re.M) is not None


@contextmanager
def group(memory: int, processes: int, *, ends_whole: bool) -> Iterator[Group | None]:
    """Yield a cgroup with limits; None if there are none. At the end nothing in it is left.

    `memory` is in bytes. With `ends_whole` a job that needs more ends with all its processes.
    """
    top = delegated()
    if top is None:
        yield None
        return
    path = top / f"job-{uuid4().hex}"
    path.mkdir()
    try:
        (path / "memory.max").write_text(str(memory))
        (path / "pids.max").write_text(str(processes))
        (path / "memory.oom.group").write_text(str(int(ends_whole)))
        if (path / "memory.swap.max").exists():  # not where swap is not accounted
            (path / "memory.swap.max").write_text("0")
        if (path / "io.weight").exists():  # nor this without the controller io
            (path / "io.weight").write_text(DISK_WEIGHT)
        yield Group(path)
    finally:
        remove(path)


def remove(path: Path) -> None:
    """End what is left in a cgroup, and remove it as soon as the kernel has released it."""
    with suppress(OSError):  # from Linux 5.14 on
        (path / "cgroup.kill").write_text("1")
    until = time.monotonic() + REMOVE_SECONDS
    while path.exists() and time.monotonic() < until:
        with suppress(OSError):
            path.rmdir()
            break
        time.sleep(0.01)


@cache
def delegated() -> Path | None:
    """Return the cgroup in which those of jobs can be made; None if there is none.

    The worker moves to a child of it. Cgroups that workers left behind are removed.
    """
    mounts, membership = (Path("/proc/self", name) for name in ("mountinfo", "cgroup"))
    top = own_cgroup(mounts.read_text(errors="replace"), membership.read_text(errors="replace"))
    if top is None:
        return None
    try:
        available = (top / "cgroup.controllers").read_text().split()
        if not set(CONTROLLERS) <= set(available):
            return None
        (top / WORKER).mkdir(exist_ok=True)
        (top / WORKER / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        return None
    try:
        wanted = " ".join(f"+{name}" for name in (*CONTROLLERS, DISK) if name in available)
        (top / "cgroup.subtree_control").write_text(wanted)
    except OSError:  # other processes are there, which are not ours to move
        with suppress(OSError):
            (top / "cgroup.procs").write_text(str(os.getpid()))
            (top / WORKER).rmdir()
        return None
    for left in top.glob("job-*"):
        with suppress(OSError):  # an apply that still runs
            left.rmdir()
    return top


def own_cgroup(mounts: str, membership: str) -> Path | None:
    """Return the folder of a process's own cgroup v2, of its mountinfo and cgroup in /proc.

    None where it has none, or where it is outside of what is mounted.
    """
    mounted = re.search(r"^\S+ \S+ \S+ / (\S+) .* - cgroup2 ", mounts, re.M)
    own = re.search(r"^0::(/.*)$", membership, re.M)
    if mounted is None or own is None or ".." in Path(own[1]).parts:
        return None
    return Path(mounted[1] + own[1])


def in_force() -> str:
    """Return the sentence that says what limits the memory and processes of jobs here."""
    top = delegated()
    if top is not None:
        return f"Limits of jobs: the kernel enforces memory and processes (cgroups v2 in {top})."
    return (
        "Limits of jobs: memory is limited for each process, and measured for whole jobs. For "
        "limits that the kernel enforces, give the worker a cgroup v2 of its own with the "
        "controllers memory and pids (systemd: Delegate=memory pids)."
    )
