"""What a job may take, all in all, also where none of its processes shows it."""

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from stacks.execution.isolation import cgroups
from stacks.execution.isolation.sandbox import LimitReached, Limits, Sandbox, sandbox
from tests.stacks.execution.conftest import commands_below

pytestmark = pytest.mark.without_resources

# The kernel's numbers for x86_64 and aarch64.
MMAP, MUNMAP = {"x86_64": (9, 11)}.get(platform.machine(), (222, 215))
# Writes each page, then unmaps all but one: no process shows the others.
MAP = f"""
sub map_of {{
    my ($length, $file, $kind) = @_;
    my $at = syscall({MMAP}, 0, $length, 3, $kind, $file, 0);
    $at > 0 or die "mmap: $!";
    $at;
}}
sub keep_one_page {{
    my ($at, $length) = @_;
    syscall({MUNMAP}, $at + 4096, $length - 4096) == 0 or die "munmap: $!";
}}
"""
AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root sees what is mapped in part")
# Each descriptor that waits in a socket is of a file without a name.
SEND = """
use Socket;
socketpair(my $left, my $right, AF_UNIX, SOCK_STREAM, 0) or die;
sub send_away {
    my $number = fileno(shift);
    my $byte = "x";
    my $vector = pack("PQ", $byte, 1);
    my $control = pack("QiiiI", 20, 1, 1, $number, 0);
    my $message = pack("QQPQPQQ", 0, 0, $vector, 1, $control, length $control, 0);
    syscall($ENV{SENDMSG}, fileno($left), $message, 0) == 1 or die "sendmsg: $!";
}
"""


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with sandbox() as one:
        yield one


def perl(box: Sandbox, script: str, seconds: float = 15) -> str:
    """Run a script to its end; return what it printed."""
    printed = bytearray()
    variables = {
        "SENDMSG": {"x86_64": "46"}.get(platform.machine(), "211"),
        "READ": {"x86_64": "0"}.get(platform.machine(), "63"),
    }
    box.run(["perl", "-e", script], variables, printed.extend, lambda: False, Limits(seconds))
    return printed.decode(errors="replace")


def test_disk_is_limited_also_for_files_in_flight_over_a_socket(
    box: Sandbox, settings: Settings
) -> None:
    settings.RUN_DISK_MB = 30
    script = """
    for (1..4) {
        open(my $file, "+>", "file") or die;
        unlink "file";
        print $file "x" x 25_000_000;
        send_away($file);
    }
    print "kept";
    sleep 10;
    """
    with pytest.raises(LimitReached, match="in a socket"):
        perl(box, SEND + script)
    assert commands_below(box.folder) == []


@AS_ROOT
def test_disk_is_limited_also_for_files_that_are_only_mapped(
    box: Sandbox, settings: Settings
) -> None:
    settings.RUN_DISK_MB = 30
    script = """
    for (1..4) {
        open(my $file, "+>", "file") or die;
        unlink "file";
        print $file "x" x 25_000_000;
        map_of(4096, fileno($file), 1);
        close $file;
    }
    sleep 10;
    """
    with pytest.raises(LimitReached, match="30 MB of disk"):
        perl(box, MAP + script)


@AS_ROOT
def test_memory_is_limited_also_where_it_is_shared_and_mapped_in_part(
    box: Sandbox, settings: Settings
) -> None:
    settings.RUN_MEMORY_MB = 256
    script = """
    open(my $zeros, "<", "/dev/zero");
    for (1..6) {
        my $at = map_of(100_000_000, -1, 33);
        syscall($ENV{READ}, fileno($zeros), $at, 100_000_000) > 0 or die "read: $!";
        keep_one_page($at, 100_000_000);
    }
    sleep 10;
    """
    with pytest.raises(LimitReached, match="256 MB of memory"):
        perl(box, MAP + script)


def test_memory_is_limited_also_in_buffers_of_sockets(box: Sandbox, settings: Settings) -> None:
    settings.RUN_MEMORY_MB = 256
    script = """
    use Socket;
    for (1..700) {
        socketpair(my $left, my $right, AF_UNIX, SOCK_STREAM, 0) or die;
        push @kept, $left, $right;
        for ($left, $right) {
            $_->blocking(0);
            1 while syswrite $_, "x" x 65536;
        }
    }
    sleep 10;
    """
    with pytest.raises(LimitReached, match="256 MB of memory"):
        perl(box, "use IO::Handle;" + script)


# cgroups v2


@pytest.mark.parametrize(
    ("mounts", "membership", "found"),
    [
        ("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "0::/system.slice/w.service",
         Path("/sys/fs/cgroup/system.slice/w.service")),
        ("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "0::/", Path("/sys/fs/cgroup")),
        ("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "0::/../other", None),
        ("30 23 0:26 /a /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "0::/a", None),
        ("30 23 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw", "4:memory:/a", None),
    ],
)  # fmt: skip
def test_the_own_cgroup_is_found(mounts: str, membership: str, found: Path | None) -> None:
    assert cgroups.own_cgroup(mounts, membership) == found


def test_a_worker_says_which_limits_hold() -> None:
    said = cgroups.in_force()
    if cgroups.delegated() is None:
        assert "memory is limited for each process" in said
        assert "Delegate=memory pids" in said
    else:
        assert "the kernel enforces memory and processes" in said


@pytest.fixture
def enforced() -> None:
    if cgroups.delegated() is None:
        pytest.skip("no cgroup v2 with the controllers memory and pids is delegated here")


def test_the_kernel_limits_the_memory_of_a_job(
    enforced: None, box: Sandbox, settings: Settings
) -> None:
    settings.RUN_MEMORY_MB = 64
    with pytest.raises(LimitReached, match="64 MB of memory"):
        perl(box, "for (1..5) { fork or do { $kept = 'x' x 30_000_000; sleep 10; exit } } wait")
    assert commands_below(box.folder) == []


def test_the_kernel_limits_the_processes_of_a_job(
    enforced: None, box: Sandbox, settings: Settings
) -> None:
    settings.RUN_PROCESSES = 20
    said = perl(
        box, "for (1..40) { my $pid = fork; defined $pid or die 'no more'; sleep 2, exit if !$pid }"
    )
    assert "no more" in said
