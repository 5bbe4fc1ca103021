"""The worker that executes runs: fetches, plans, applies; and that checks modules.

Any number may run, on any machine that reaches the database; each does one run or check at a time.
It may be killed at any point: another worker, or this one after its restart, plans the run again.
"""

import logging
import os
import secrets
import signal
import socket
import threading
import time
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError, close_old_connections

from modules.models import Check
from modules.publishing import checking
from modules.publishing import queue as checks
from modules.publishing.storing import prune_archives
from stacks.execution import job, queue
from stacks.execution.isolation import cgroups, seccomp
from stacks.execution.isolation.network import NoNetwork, describe_network
from stacks.execution.isolation.removal import set_aside
from stacks.execution.isolation.sandbox import (
    NotIsolated,
    check_isolation,
    remove_left_folders,
    runs_folder,
)
from stacks.execution.versions import signatures
from stacks.execution.versions.installed import describe_programs
from stacks.models import Run, Tool

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.05  # seconds
TIDY_EVERY = 60
WAIT_FOR_DATABASE = 5


class Command(BaseCommand):
    help = "Execute runs: plan, and apply what was confirmed. Check modules. `make run` starts it."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            network = describe_network()
            check_isolation()
            left = set_aside(runs_folder())
        except (NoNetwork, NotIsolated) as error:
            raise CommandError(str(error)) from error
        if settings.TOOLS_DOWNLOAD and not signatures.is_available():
            raise CommandError(
                "TOOLS_DOWNLOAD is true, and gpgv is missing, which checks what is downloaded. "
                "Install it (on Debian: apt-get install gpgv)."
            )
        ending = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ending.set())
        worker = f"{socket.gethostname()[:60]}:{os.getpid()}:{secrets.token_hex(8)}"
        for tool in Tool:
            self.stdout.write(describe_programs(tool))
        self.stdout.write(network)
        for folder in left:
            self.stdout.write(f"Could not be removed, remove it by hand: {folder}")
        self.stdout.write(cgroups.in_force())
        if not seccomp.is_supported():
            self.stdout.write(
                "System calls of jobs are not filtered on this machine's architecture."
            )
        self.stdout.write("The run worker is running.")
        self.stdout.flush()
        tidied_at = 0.0
        work: Run | Check | None = None
        while not ending.is_set():
            try:
                close_old_connections()
                if time.monotonic() > tidied_at + TIDY_EVERY:
                    tidy()
                    tidied_at = time.monotonic()
                work = claim(worker, after_run=isinstance(work, Run))
            except (DatabaseError, InterfaceError) as error:
                logger.warning("The worker waits for the database: %s", error.__class__.__name__)
                ending.wait(WAIT_FOR_DATABASE)
                continue
            if work is None:
                ending.wait(LOOK_EVERY)
            elif isinstance(work, Run):
                job.execute(work, ending.is_set)
            else:
                checking.execute(work, ending.is_set)


def claim(worker: str, *, after_run: bool) -> Run | Check | None:
    """Claim what is next: a run, else a check. After a run, one that waited for long goes first."""
    if after_run and checks.is_overdue() and (check := checks.claim_next()):
        return check
    return queue.claim_next(worker) or checks.claim_next()


def tidy() -> None:
    """Remove what nobody needs any more. A failure is logged: it must not end the worker.

    Raises DatabaseError and InterfaceError, for which the worker waits.
    """
    for work in (queue.forget_plans, remove_left_folders, prune_archives):
        try:
            work()
        except (DatabaseError, InterfaceError):
            raise
        except Exception:
            logger.exception("Tidying failed")
