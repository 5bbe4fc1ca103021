"""System calls that a job may not make: as the filter decides, and from inside a job."""

import errno
import platform
import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.execution.isolation.sandbox import Limits, Sandbox, sandbox
from stacks.execution.isolation.seccomp import CALLS, program
from stacks.execution.isolation.system import SYSTEM_PATH

pytestmark = pytest.mark.without_resources

ALLOWED, KILLED = 0x7FFF0000, 0x80000000
REFUSED, UNKNOWN, NO_FAMILY = (
    0x00050000 | number for number in (errno.EPERM, errno.ENOSYS, errno.EAFNOSUPPORT)
)
# Of linux-libc-dev. aarch64 has the kernel's generic numbers.
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ON_X86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="it has numbers of x86_64")


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with sandbox() as one:
        yield one


def run(box: Sandbox, *command: str) -> str:
    """Run a command to its end; return what it printed."""
    printed = bytearray()
    box.run(command, {}, printed.extend, lambda: False, Limits(60))
    return printed.decode(errors="replace")


def decided(machine: str, number: int, first: int = 0, architecture: int | None = None) -> int:
    """Return what the filter of a machine returns for a call, as the kernel runs it."""
    code = list(struct.iter_unpack("<HBBI", program(machine)))
    architecture = CALLS[machine].machine if architecture is None else architecture
    call = struct.pack("<IIQ6Q", number, architecture, 0, first, 0, 0, 0, 0, 0)
    loaded = at = 0
    while True:
        kind, if_true, if_false, operand = code[at]
        at += 1
        if kind == 0x06:
            return int(operand)
        if kind == 0x20:
            loaded = struct.unpack_from("<I", call, operand)[0]
        else:
            tests = {
                0x15: loaded == operand,
                0x35: loaded >= operand,
                0x45: bool(loaded & operand),
            }
            at += if_true if tests[kind] else if_false


@pytest.mark.parametrize("machine", CALLS)
def test_the_filter_refuses_what_is_listed_and_allows_the_rest(machine: str) -> None:
    calls = CALLS[machine]
    assert {decided(machine, number) for number in calls.denied.values()} == {REFUSED}
    others = set(range(500)) - {*calls.denied.values(), calls.socket, calls.socketpair, 435}
    assert {decided(machine, number) for number in others} == {ALLOWED}
    assert decided(machine, 435) == UNKNOWN
    assert decided(machine, 0x40000000 | calls.clone) == REFUSED


@pytest.mark.parametrize("machine", CALLS)
def test_the_filter_allows_processes_and_threads_and_no_namespaces(machine: str) -> None:
    clone = CALLS[machine].clone
    of_a_thread = 0x003D0F00  # as glibc starts one
    assert decided(machine, clone, 17) == decided(machine, clone, of_a_thread) == ALLOWED
    for bit in (17, 25, 26, 27, 28, 29, 30):
        assert decided(machine, clone, 1 << bit | 17) == REFUSED


@pytest.mark.parametrize("machine", CALLS)
def test_the_filter_allows_sockets_of_this_machine_and_of_networks_only(machine: str) -> None:
    for number in (CALLS[machine].socket, CALLS[machine].socketpair):
        allowed = {family for family in range(64) if decided(machine, number, family) == ALLOWED}
        assert allowed == {1, 2, 10, 16}  # Unix, IPv4, IPv6, netlink
        assert decided(machine, number, 40) == NO_FAMILY  # AF_VSOCK


def test_the_filter_kills_programs_of_another_architecture() -> None:
    i386, arm = 0x40000003, 0x40000028
    assert decided("x86_64", 1, architecture=i386) == KILLED
    assert decided("aarch64", 1, architecture=arm) == KILLED


@pytest.mark.parametrize("machine", CALLS)
def test_numbers_of_calls_are_those_of_the_kernels_headers(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip("linux-libc-dev is not installed")
    defined = re.findall(r"__NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text())
    known = {name: int(number) for name, number in defined}
    for name in ("clone", "socket", "socketpair"):
        assert getattr(CALLS[machine], name) == known[name]
    for name, number in CALLS[machine].denied.items():
        # Headers may be older than the newest calls.
        assert number == known.get(name, number), name


@ON_X86_64
def test_a_job_can_make_none_of_the_denied_calls(box: Sandbox) -> None:
    numbers = [*CALLS["x86_64"].denied.values(), 435, 0x40000000 | 39]
    script = "for (@ARGV) { $! = 0; syscall(0 + $_, 0, 0, 0, 0, 0); print $! + 0, qq(\\n) }"
    said = run(box, "perl", "-e", script, *map(str, numbers)).split()
    assert said == [str(errno.EPERM)] * (len(numbers) - 2) + [str(errno.ENOSYS), str(errno.EPERM)]
    clone = "$! = 0; my $pid = syscall(56, 0x10000011, 0, 0, 0, 0); exit if !$pid; print $! + 0"
    assert run(box, "perl", "-e", clone) == str(errno.EPERM)


def test_a_job_reaches_no_host_of_its_virtual_machine_and_no_driver_by_a_socket(
    box: Sandbox,
) -> None:
    script = (
        "for (@ARGV) { $! = 0; print socket(my $one, $_, 2, 0) ? q(ok) : $! + 0, qq(\n) }"
        "socketpair(my $a, my $b, 1, 1, 0) or die; print q(pair)"
    )
    unix, *packet_crypto_vsock = "1", "17", "38", "40"
    said = run(box, "perl", "-e", script, unix, *packet_crypto_vsock).split()
    assert said == ["ok", *[str(errno.EAFNOSUPPORT)] * 3, "pair"]


def test_a_job_gets_no_tmpfs_and_no_namespace_of_its_own(box: Sandbox) -> None:
    mount = "mount -t tmpfs none /tmp && echo mounted"
    said = run(box, "sh", "-c", f"unshare -Urm sh -c '{mount}'; {mount}; ls /proc/self/fdinfo")
    assert "mounted" not in said
    assert "Operation not permitted" in said


def test_a_job_can_keep_nothing_in_a_keyring(box: Sandbox) -> None:
    """Keys are the user's, and would be there for the next job of the same user."""
    add = "print syscall(shift() + 0, @ARGV[0..2], 4, -4) < 0 ? $! + 0 : q(kept)"
    number = str(CALLS[platform.machine()].denied["add_key"])
    assert run(box, "perl", "-e", add, number, "user", "left", "data") == str(errno.EPERM)


@ON_X86_64
@pytest.mark.skipif(shutil.which("python3", path=SYSTEM_PATH) is None, reason="no system Python")
def test_a_job_can_make_no_call_as_a_program_of_32_bits(box: Sandbox) -> None:
    script = r"""
import ctypes, mmap
code = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)
code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # getpid by int 0x80
print(ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(code)))())
"""
    assert run(box, "python3", "-c", script) == ""


def test_a_job_still_runs_git_and_many_processes(box: Sandbox) -> None:
    script = "git init -q . && git add . && git gc -q && (sleep 0 & wait) | cat && echo done"
    assert run(box, "sh", "-c", script).endswith("done\n")
