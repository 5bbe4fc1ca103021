"""The system calls that a job may not make, as a filter that bubblewrap loads.

They would open what limits don't cover: namespaces and mounts with memory of their own, keys that
outlive the job, memory that no process maps, and large parts of the kernel that no run needs.
Sockets are those of the networks that a job's own network filters, and of programs on this machine:
AF_VSOCK, say, would lead from a virtual machine to its host, past every filter.

The program is classic BPF, see seccomp(2) and the kernel's networking/filter.rst. Numbers of calls
are those of the kernel's arch/x86/entry/syscalls/syscall_64.tbl, and of scripts/syscall.tbl, which
aarch64 uses; from 424 on they are the same everywhere.
"""

import errno
import platform
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass

# include/uapi/linux/bpf_common.h: class, size and mode of an instruction in one number.
LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
JUMP_IF_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP_IF_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
JUMP_IF_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K
# include/uapi/linux/seccomp.h: what a filter returns, and where struct seccomp_data has what. Both
# machines are little-endian: the lower half of an argument comes first.
ALLOW = 0x7FFF0000
KILL = 0x80000000
ERROR = 0x00050000
NUMBER, MACHINE, FIRST_ARGUMENT = 0, 4, 16
# include/uapi/linux/sched.h: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
NEW_NAMESPACES = 0x7E020000
# arch/x86/include/uapi/asm/unistd.h: numbers of the x32 ABI, under which each call exists again.
X32 = 0x40000000
CLONE3 = 435
# Numbers of include/linux/socket.h, the same on every machine.
FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)

DENIED_EVERYWHERE = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "mount_setattr": 442,
    "memfd_secret": 447,
    "open_tree_attr": 467,
}


@dataclass(frozen=True)
class Calls:
    """One machine: its AUDIT_ARCH_… of include/uapi/linux/audit.h, and numbers of calls."""

    machine: int
    clone: int
    socket: int
    socketpair: int
    denied: Mapping[str, int]


CALLS = {
    "x86_64": Calls(
        machine=0xC000003E,
        clone=56,
        socket=41,
        socketpair=53,
        denied=DENIED_EVERYWHERE
        | {
            "shmget": 29,
            "semget": 64,
            "msgget": 68,
            "ptrace": 101,
            "pivot_root": 155,
            "mount": 165,
            "umount2": 166,
            "add_key": 248,
            "request_key": 249,
            "keyctl": 250,
            "unshare": 272,
            "perf_event_open": 298,
            "setns": 308,
            "memfd_create": 319,
            "bpf": 321,
            "userfaultfd": 323,
        },
    ),
    "aarch64": Calls(
        machine=0xC00000B7,
        clone=220,
        socket=198,
        socketpair=199,
        denied=DENIED_EVERYWHERE
        | {
            "umount2": 39,
            "mount": 40,
            "pivot_root": 41,
            "unshare": 97,
            "ptrace": 117,
            "msgget": 186,
            "semget": 190,
            "shmget": 194,
            "add_key": 217,
            "request_key": 218,
            "keyctl": 219,
            "perf_event_open": 241,
            "setns": 268,
            "memfd_create": 279,
            "bpf": 280,
            "userfaultfd": 282,
        },
    ),
}


def is_supported() -> bool:
    """Say whether calls are filtered on this machine."""
    return platform.machine() in CALLS


def program(machine: str) -> bytes:
    """Return the filter for a machine as `uname -m` names it; elsewhere it allows every call.

    A denied call fails with EPERM, a socket of another family with EAFNOSUPPORT, as if the kernel
    had none of these, and a program of another architecture is killed.
    """
    calls = CALLS.get(machine)
    if calls is None:
        return instruction(RETURN, ALLOW)
    denied = instruction(RETURN, ERROR | errno.EPERM)
    parts = [
        instruction(LOAD_WORD, MACHINE),
        instruction(JUMP_IF_EQUAL, calls.machine, if_true=1),
        instruction(RETURN, KILL),
        instruction(LOAD_WORD, NUMBER),
        instruction(JUMP_IF_AT_LEAST, X32, if_false=1),
        denied,
        # Its flags are in memory, which a filter can't read; libc falls back to clone.
        instruction(JUMP_IF_EQUAL, CLONE3, if_false=1),
        instruction(RETURN, ERROR | errno.ENOSYS),
    ]
    for number in calls.denied.values():
        parts += [instruction(JUMP_IF_EQUAL, number, if_false=1), denied]
    for number in (calls.socket, calls.socketpair):
        parts += [
            instruction(JUMP_IF_EQUAL, number, if_false=3 + len(FAMILIES)),
            instruction(LOAD_WORD, FIRST_ARGUMENT),
            *(
                instruction(JUMP_IF_EQUAL, family, if_true=len(FAMILIES) - place)
                for place, family in enumerate(FAMILIES)
            ),
            instruction(RETURN, ERROR | errno.EAFNOSUPPORT),
            instruction(RETURN, ALLOW),
        ]
    parts += [
        instruction(JUMP_IF_EQUAL, calls.clone, if_false=3),
        instruction(LOAD_WORD, FIRST_ARGUMENT),
        instruction(JUMP_IF_ANY_BIT, NEW_NAMESPACES, if_false=1),
        denied,
        instruction(RETURN, ALLOW),
    ]
    return b"".join(parts)


def instruction(code: int, operand: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return a struct sock_filter; jumps skip that many instructions."""
    return struct.pack("<HBBI", code, if_true, if_false, operand)
