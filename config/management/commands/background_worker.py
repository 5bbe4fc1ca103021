"""The background worker: processes deliveries, reconciles, reports, repairs hooks, mails.

Any number may run side by side on PostgreSQL, one on SQLite. It may be killed at any point:
another worker, or this one after its restart, claims the work again.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.sessions.models import Session
from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.utils import timezone

from accounts.audit.refusals import prune_refusals
from modules.deciding.importing import import_next
from modules.impact.planning import plan_next_impact
from modules.models import prune_module_decisions
from notifications.models.message import prune_messages
from notifications.outbox.queue import mail_next, post_next
from stacks.deciding.planning import plan_next
from stacks.deciding.reconciliation import reconcile_next
from stacks.dependencies.following import follow_next
from stacks.lifecycle.planning_again import plan_again_next
from stacks.models import prune_decisions, prune_runs, prune_uploads
from stacks.reports.sending import send_next
from stacks.schedules.queue import start_scheduled_next
from vcs_integrations.hooks.watching import prune_record, watch_next
from vcs_integrations.models import Repository
from vcs_integrations.notices.mailing import send_next_mail
from vcs_integrations.notices.records import notify_of_token_ends, prune_notices
from vcs_integrations.organizations.queue import refresh_next
from vcs_integrations.webhooks.processing import process_due, prune

logger = logging.getLogger(__name__)

# While one waits for a slow provider, the others go on.
PROCESSORS = 3
SENDERS = 2
POSTERS = 3
# How long each waits, in seconds, when there is nothing to do.
LOOK_FOR_DELIVERIES_EVERY = 0.1
LOOK_FOR_REPOSITORIES_EVERY = 1
LOOK_FOR_OLDER_EVERY = 1
LOOK_FOR_OUTDATED_EVERY = 1
LOOK_FOR_SCHEDULES_EVERY = 1
LOOK_FOR_DEPENDENCIES_EVERY = 1
LOOK_FOR_IMPACTS_EVERY = 1
LOOK_FOR_MODULES_EVERY = 1
LOOK_FOR_REPORTS_EVERY = 0.1
# A delivery is mostly followed by others, and by reports: for a while both are looked for often.
LOOK_WHILE_BUSY_EVERY = 0.02
BUSY_FOR = 10
LOOK_FOR_HOOKS_EVERY = 1
LOOK_FOR_MAILS_EVERY = 2
LOOK_FOR_MESSAGES_EVERY = 2
CHECK_TOKENS_EVERY = 60
LOOK_FOR_ORGANIZATIONS_EVERY = 1
TIDY_EVERY = 3600
WAIT_FOR_DATABASE = 5
# On a signal, what is being done is finished, if it takes no longer than this.
END_WITHIN = 4


class Command(BaseCommand):
    help = (
        "Run background work: process deliveries, reconcile, list tags of modules, start scheduled "
        "runs, report to providers, keep service hooks, send email and notifications, tidy up. "
        "`make run` starts it beside the web server."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        ending = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ending.set())
        work = [
            *[Work(process_due, LOOK_FOR_DELIVERIES_EVERY, comes_in_bursts=True)] * PROCESSORS,
            *[Work(send_next, LOOK_FOR_REPORTS_EVERY, comes_in_bursts=True)] * SENDERS,
            # What happened while no worker ran may have been missed.
            Work(reconcile_next, LOOK_FOR_REPOSITORIES_EVERY, first=Repository.objects.make_due),
            Work(plan_next, LOOK_FOR_OLDER_EVERY),
            Work(plan_again_next, LOOK_FOR_OUTDATED_EVERY),
            Work(start_scheduled_next, LOOK_FOR_SCHEDULES_EVERY),
            Work(follow_next, LOOK_FOR_DEPENDENCIES_EVERY),
            Work(plan_next_impact, LOOK_FOR_IMPACTS_EVERY),
            Work(import_next, LOOK_FOR_MODULES_EVERY),
            Work(watch_next, LOOK_FOR_HOOKS_EVERY),
            Work(refresh_next, LOOK_FOR_ORGANIZATIONS_EVERY),
            Work(notify_of_token_ends, CHECK_TOKENS_EVERY),
            Work(send_next_mail, LOOK_FOR_MAILS_EVERY),
            Work(mail_next, LOOK_FOR_MESSAGES_EVERY),
            *[Work(post_next, LOOK_FOR_MESSAGES_EVERY)] * POSTERS,
            Work(tidy, TIDY_EVERY),
        ]
        burst = Burst()
        threads = [keep_doing(one, ending, burst) for one in work]
        self.stdout.write("The background worker is running.")
        ending.wait()
        until = time.monotonic() + END_WITHIN
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))


@dataclass(frozen=True)
class Work:
    """Something to do again and again: what, the pause where there was nothing, and what first.

    Of work that comes in bursts, any that was found shortens the pauses of all for a while.
    """

    do: Callable[[], object]
    pause: float
    first: Callable[[], object] | None = None
    comes_in_bursts: bool = False


class Burst:
    """Whether work that comes in bursts was found a while ago."""

    def __init__(self) -> None:
        self._ends_at = 0.0

    def goes_on(self) -> None:
        self._ends_at = time.monotonic() + BUSY_FOR

    def pause_of(self, work: Work) -> float:
        """Return how long to wait before looking for some work again."""
        is_busy = work.comes_in_bursts and time.monotonic() < self._ends_at
        return LOOK_WHILE_BUSY_EVERY if is_busy else work.pause


def keep_doing(work: Work, ending: threading.Event, burst: Burst) -> threading.Thread:
    """Do some work in a thread until the process is to end.

    A database in trouble is tried again, and a fault of ours does not end it for good.
    """

    def keep() -> None:
        waiting = [work.first] if work.first else []
        while not ending.is_set():
            found: object = False
            try:
                close_old_connections()
                if waiting:
                    waiting[0]()
                    waiting.clear()
                found = work.do()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("%s waits for the database: %s", name, error.__class__.__name__)
                ending.wait(WAIT_FOR_DATABASE)
            except Exception:
                logger.exception("%s failed", name)
            if not found:
                ending.wait(burst.pause_of(work))
            elif work.comes_in_bursts:
                burst.goes_on()

    name = getattr(work.do, "__name__", "work")
    thread = threading.Thread(target=keep, name=name, daemon=True)
    thread.start()
    return thread


def tidy() -> None:
    """Remove what was kept long enough: deliveries, what was done to hooks and their tests,
    notices, notifications, decisions, what runs left, unconfirmed uploads, refusals in the audit
    log, sessions.
    """
    prune()
    prune_record()
    prune_notices()
    prune_messages()
    prune_decisions()
    prune_module_decisions()
    prune_runs()
    prune_uploads()
    prune_refusals()
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
