"""What runs leave behind that ended long ago, and that nobody needs any more."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from stacks.models.dependency import DependencyRun
from stacks.models.job import LogChunk
from stacks.models.plan import PlanPart
from stacks.models.run import Run
from stacks.rules.states import ENDED

PRUNED_AT_ONCE = 500


def oldest_kept() -> datetime:
    """Return since when a run has to have ended for its log and values to be kept."""
    return timezone.now() - timedelta(days=settings.DELIVERY_RETENTION_DAYS)


def prune_runs() -> None:
    """Remove logs, values of plans, and what dependencies noted, of runs that ended long ago.

    The runs stay, and so does the list of what their plans did. So do pushes to modules: they keep
    an old event, sent once more, from starting a second run.
    """
    ended = Run.objects.filter(state__in=sorted(ENDED), moved_at__lt=oldest_kept())
    _delete(PlanPart.objects.filter(run__in=ended))
    _delete(LogChunk.objects.filter(run__in=ended))
    # What a dependency has seen keeps a version from being compared again; the page shows the last.
    later = DependencyRun.objects.filter(
        dependency=OuterRef("dependency"), version__gt=OuterRef("version")
    )
    _delete(DependencyRun.objects.filter(Exists(later), Q(run=None) | Q(run__in=ended)))


def _delete(rows: QuerySet[Any]) -> None:
    """Delete rows in portions, so that a webhook gets its turn to write in between."""
    keys = rows.order_by().values_list("pk", flat=True)
    while portion := list(keys[:PRUNED_AT_ONCE]):
        rows.model._default_manager.filter(pk__in=portion).delete()
