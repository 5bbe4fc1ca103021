"""What the worker does: look at organizations again, and pick up what is due.

A row says when it is due; a task is only a nudge to look at it. A task that is lost or
run twice changes nothing, because the sweep finds the row again.
"""

from datetime import timedelta

from django.utils import timezone
from django_tasks import task

from vcs_integrations.models import Integration
from vcs_integrations.organizations.refreshing import refresh
from vcs_integrations.providers.base import BACKGROUND

# How long a claimed row is left alone: longer than the slowest refresh.
LEASE = timedelta(minutes=15)


@task()
def refresh_integration(pk: int) -> None:
    """Look at one organization: its health and its repositories."""
    integration = Integration.objects.linked().filter(pk=pk).first()
    if integration:
        refresh(integration, BACKGROUND)


def sweep() -> int:
    """Enqueue a refresh for each integration that is due; return how many there were.

    The row is claimed by moving its time, so that of several workers one enqueues it.
    """
    claimed = 0
    for pk in Integration.objects.due_for_refresh().values_list("pk", flat=True):
        due = Integration.objects.due_for_refresh().filter(pk=pk)
        if due.update(refresh_at=timezone.now() + LEASE):
            refresh_integration.enqueue(pk)
            claimed += 1
    return claimed
