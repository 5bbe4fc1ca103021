"""Installs what the tests need of the machine, where that is allowed, else says what to install."""

import os
import shutil
import subprocess
import sys

from tests import chromium


def main() -> int:
    if chromium.find() is None:
        install("chromium")
    if chromium.find() is None:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    if shutil.which("bwrap") is None:
        install("bubblewrap")
    if shutil.which("git-lfs") is None:  # without it, its tests are skipped
        install("git-lfs")
    missing = [] if chromium.find() else ["chromium"]
    missing += [] if shutil.which("bwrap") else ["bubblewrap"]
    if missing:
        sys.stderr.write(f"The tests need what is missing here: install {' and '.join(missing)}.\n")
    return len(missing)


def install(package: str) -> None:
    """Install one of Debian's packages, as root."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", package], check=False)


if __name__ == "__main__":
    sys.exit(main())
