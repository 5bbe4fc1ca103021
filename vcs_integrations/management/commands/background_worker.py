"""The background worker: runs tasks and, on a schedule, enqueues what is due.

Any number may run side by side on PostgreSQL, one on SQLite.
"""

import logging
import threading
import time
from datetime import timedelta
from typing import Any

from django.contrib.sessions.models import Session
from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.utils import timezone
from django.utils.crypto import get_random_string
from django_tasks_db.management.commands.db_worker import Worker
from django_tasks_db.models import DBTaskResult

from vcs_integrations.tasks import sweep

logger = logging.getLogger(__name__)

SWEEP_EVERY = 5  # seconds
TIDY_EVERY = 3600  # seconds
KEEP_RESULTS = timedelta(days=1)


class Command(BaseCommand):
    help = (
        "Run background work: connect again, refresh repositories, tidy up. "
        "`make run` starts it beside the web server."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        threading.Thread(target=keep_sweeping, daemon=True).start()
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
                time.sleep(SWEEP_EVERY)


def keep_sweeping() -> None:
    """Sweep and tidy until the process ends; a database in trouble is tried again."""
    tidied_at = 0.0
    while True:
        try:
            close_old_connections()
            sweep()
            if time.monotonic() - tidied_at > TIDY_EVERY:
                tidy()
                tidied_at = time.monotonic()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The sweep waits for the database: %s", error.__class__.__name__)
        except Exception:  # a fault of ours must not end the sweeping for good
            logger.exception("The sweep failed")
        time.sleep(SWEEP_EVERY)


def tidy() -> None:
    """Remove task results and sessions that nobody needs any more."""
    # One that is still running after so long lost its worker.
    DBTaskResult.objects.filter(started_at__lt=timezone.now() - KEEP_RESULTS).delete()
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
