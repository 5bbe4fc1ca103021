"""The background worker: processes deliveries, reconciles, reports, mends hooks, mails, tidies up.

Any number may run side by side on PostgreSQL, one on SQLite. It may be killed at any point:
what it had taken is taken again, by another or by itself.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.sessions.models import Session
from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.utils import timezone
from django.utils.crypto import get_random_string
from django_tasks_db.management.commands.db_worker import Worker
from django_tasks_db.models import DBTaskResult

from accounts.audit.refusals import prune_refusals
from stacks.deciding.planning import plan_next
from stacks.deciding.reconciliation import reconcile_next
from stacks.lifecycle.planning_again import plan_again_next
from stacks.models import prune_decisions, prune_uploads
from stacks.reports.sending import send_next
from vcs_integrations.hooks.watching import prune_record, watch_next
from vcs_integrations.models import Repository
from vcs_integrations.notices.mailing import send_next_mail
from vcs_integrations.notices.records import look_at_tokens, prune_notices
from vcs_integrations.organizations.tasks import sweep
from vcs_integrations.webhooks.processing import process_due, prune

logger = logging.getLogger(__name__)

# While one waits for a slow provider, the others go on.
PROCESSORS = 3
SENDERS = 2
# How long each waits, in seconds, when there is nothing to do.
LOOK_FOR_DELIVERIES_EVERY = 0.1
LOOK_FOR_REPOSITORIES_EVERY = 1
LOOK_FOR_OLDER_EVERY = 1
LOOK_FOR_OUTDATED_EVERY = 1
LOOK_FOR_REPORTS_EVERY = 0.5
LOOK_FOR_HOOKS_EVERY = 1
LOOK_FOR_MAILS_EVERY = 2
LOOK_AT_TOKENS_EVERY = 60
SWEEP_EVERY = 5
TIDY_EVERY = 3600
WAIT_FOR_DATABASE = 5
KEEP_RESULTS = timedelta(days=1)


class Command(BaseCommand):
    help = (
        "Run background work: process deliveries, reconcile, report to Azure DevOps, look after "
        "service hooks, mail notices, tidy up. "
        "`make run` starts it beside the web server."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        for _ in range(PROCESSORS):
            keep_doing(process_due, LOOK_FOR_DELIVERIES_EVERY)
        for _ in range(SENDERS):
            keep_doing(send_next, LOOK_FOR_REPORTS_EVERY)
        # What happened while no worker ran may have been missed.
        keep_doing(reconcile_next, LOOK_FOR_REPOSITORIES_EVERY, first=Repository.objects.hurry)
        keep_doing(plan_next, LOOK_FOR_OLDER_EVERY)
        keep_doing(plan_again_next, LOOK_FOR_OUTDATED_EVERY)
        keep_doing(watch_next, LOOK_FOR_HOOKS_EVERY)
        keep_doing(sweep, SWEEP_EVERY)
        keep_doing(look_at_tokens, LOOK_AT_TOKENS_EVERY)
        keep_doing(send_next_mail, LOOK_FOR_MAILS_EVERY)
        keep_doing(tidy, TIDY_EVERY)
        worker = Worker(
            queue_names=["*"],
            interval=1,
            batch=False,
            backend_name="default",
            startup_delay=False,
            max_tasks=None,
            worker_id=get_random_string(32),
            excluded_queue_names=[],
        )
        worker.configure_signals()
        self.stdout.write("The background worker is running.")
        while worker.running:
            try:
                worker.run()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("The worker waits for the database: %s", error.__class__.__name__)
                time.sleep(WAIT_FOR_DATABASE)


def keep_doing(
    work: Callable[[], object], pause: float, first: Callable[[], object] | None = None
) -> None:
    """Do some work in a thread until the process ends, pausing when there was nothing to do.

    A database in trouble is tried again, and a fault of ours does not end it for good.
    """

    def keep() -> None:
        waiting = [first] if first else []
        while True:
            found: object = False
            try:
                close_old_connections()
                if waiting:
                    waiting[0]()
                    waiting.clear()
                found = work()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("%s waits for the database: %s", name, error.__class__.__name__)
                time.sleep(WAIT_FOR_DATABASE)
            except Exception:
                logger.exception("%s failed", name)
            if not found:
                time.sleep(pause)

    name = getattr(work, "__name__", "work")
    threading.Thread(target=keep, name=name, daemon=True).start()


def tidy() -> None:
    """Remove what was kept long enough: deliveries, what was done to hooks and their tests,
    notices, decisions, unconfirmed uploads, refusals in the audit log, task results, sessions.
    """
    prune()
    prune_record()
    prune_notices()
    prune_decisions()
    prune_uploads()
    prune_refusals()
    # One that is still running after so long lost its worker.
    DBTaskResult.objects.filter(started_at__lt=timezone.now() - KEEP_RESULTS).delete()
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
