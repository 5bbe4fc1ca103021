"""Starting the product's own programs in tests, in a copy of the tree where they write files."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings

# What this process or a developer's machine says must not leak into the programs.
OURS = (
    "SECRET_KEY",
    "FIELD_ENCRYPTION_KEY",
    "FIELD_ENCRYPTION_OLD_KEY",
    "DEBUG",
    "PORT",
    "EMULATOR_PORT",
    "WEB_CONCURRENCY",
    "PUBLIC_URL",
    "ALLOWED_HOSTS",
    "AZURE_DEVOPS_SERVERS",
    "EMAIL_URL",
    "DEFAULT_FROM_EMAIL",
    "CSRF_TRUSTED_ORIGINS",
    "TRUSTED_PROXIES",
    "SECURE_SSL_REDIRECT",
    "SESSION_COOKIE_SECURE",
    "CSRF_COOKIE_SECURE",
    "SECURE_PROXY_SSL_HEADER",
    "DATABASE_URL",
    "DJANGO_SETTINGS_MODULE",
    "DJANGO_ALLOW_ASYNC_UNSAFE",
)
KEYS = {"SECRET_KEY": "a key of the tests", "FIELD_ENCRYPTION_KEY": "another key"}


def copy_tree(to: Path) -> Path:
    """Copy the product, without what is ignored by git, to a new folder; return it."""
    ignored = shutil.ignore_patterns(
        ".*", "*.sqlite3*", "staticfiles", "node_modules", "screenshots"
    )
    return shutil.copytree(settings.BASE_DIR, to, ignore=ignored)


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with these settings of the product and no others."""
    return {name: value for name, value in os.environ.items() if name not in OURS} | variables


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder until it ends."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=600,
    )


@contextmanager
def running(folder: Path, *arguments: str, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    """Run Python in a folder beside the test; whatever is left of it at the end is killed."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(PYTHONUNBUFFERED="1", **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    children: set[int] = set()
    try:
        yield process
    finally:
        children = descendants(process.pid)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        for pid in children:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()


def free_port() -> int:
    """Return a port that nothing listens on, and that no connection is given meanwhile.

    Systems choose the port of a connection from 32768 (Linux) or 49152 (others).
    """
    while True:
        port = secrets.choice(range(10_000, 32_768))
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def descendants(pid: int) -> set[int]:
    """Return the processes that a process started, and those that they started."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True).stdout
    parents = {int(line.split()[0]): int(line.split()[1]) for line in listed.splitlines()}
    found: set[int] = set()
    waiting = {pid}
    while waiting:
        waiting = {child for child, parent in parents.items() if parent in waiting} - found
        found |= waiting
    return found


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that ended and was not waited for does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(state.stdout.strip()) and not state.stdout.strip().startswith("Z")


def wait_for(condition: Callable[[], object], seconds: float = 120) -> bool:
    """Wait until something is so; say whether it came to be."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.1)
    return False
