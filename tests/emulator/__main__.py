"""The command line: `python -m tests.emulator --sample`."""

import argparse
import errno
import signal
import sys
import threading
from pathlib import Path

from . import demo
from .server import Emulator


def main() -> int:
    """Serve until a signal ends it; return the exit code."""
    options = _options()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    emulator = Emulator(options.root, options.port, options.allow_local_hooks)
    try:
        emulator.start()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        sys.stderr.write(f"Port {options.port} is in use; choose another one with --port.\n")
        return 1
    _fill(emulator, options)
    sys.stdout.write(f"Azure DevOps emulator: {emulator.url}/\n")
    sys.stdout.flush()
    stop.wait()
    emulator.stop()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.emulator", description="A local Azure DevOps")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--root", type=Path, default=Path(".demo/emulator"), help="data folder")
    parser.add_argument(
        "--allow-local-hooks",
        action="store_true",
        help="let webhooks go to http, loopback and private addresses",
    )
    parser.add_argument("--sample", action="store_true", help="add the organization fabrikam")
    parser.add_argument(
        "--repositories", type=int, default=0, metavar="N", help="add N generated repositories"
    )
    return parser.parse_args()


def _fill(emulator: Emulator, options: argparse.Namespace) -> None:
    if options.sample or options.repositories:
        demo.seed(emulator)
    organization = emulator.organization(demo.ORGANIZATION)
    if organization and options.repositories and not organization.project("Generated"):
        organization.add_project("Generated").add_repositories(options.repositories)


if __name__ == "__main__":
    sys.exit(main())
