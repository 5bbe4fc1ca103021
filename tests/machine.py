"""Installs what the tests need of the machine, where that is allowed, else says what to install."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests import chromium, embedded

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main() -> int:
    if chromium.find() is None:
        install("chromium")
    if chromium.find() is None:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    if shutil.which("bwrap") is None:
        install("bubblewrap")
    if shutil.which("git-lfs") is None:  # without it, its tests are skipped
        install("git-lfs")
    if embedded.library() is None:  # likewise
        embedded.download()
    # Without these, tests of jobs' networks and of signatures are skipped.
    packages = {"pasta": "passt", "nft": "nftables", "gpg": "gpg", "gpgv": "gpgv"}
    for program, package in packages.items():
        if find(program) is None:
            install(package)
    open_tunnel_device()
    missing = [] if chromium.find() else ["chromium"]
    missing += [] if shutil.which("bwrap") else ["bubblewrap"]
    if missing:
        sys.stderr.write(f"The tests need what is missing here: install {' and '.join(missing)}.\n")
    return len(missing)


def find(program: str) -> str | None:
    """Return the path of a program where workers look for it, too."""
    return shutil.which(program, path=SYSTEM_PATH)


def open_tunnel_device() -> None:
    """Let every user make devices in networks of their own, as udev does."""
    with contextlib.suppress(OSError):
        if os.geteuid() == 0:
            Path("/dev/net/tun").chmod(0o666)


def install(package: str) -> None:
    """Install one of Debian's packages, as root."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", package], check=False)


if __name__ == "__main__":
    sys.exit(main())
