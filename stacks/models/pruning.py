"""What runs leave behind that ended long ago, and that nobody needs any more."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from core.transactions import delete_in_portions
from stacks.models.dependency import DependencyRun
from stacks.models.job import LogChunk
from stacks.models.plan import PlanPart
from stacks.models.run import Run
from stacks.rules.states import ENDED


def oldest_kept() -> datetime:
    """Return since when a run has to have ended for its log and values to be kept."""
    return timezone.now() - timedelta(days=settings.DELIVERY_RETENTION_DAYS)


def prune_runs() -> None:
    """Remove logs, values of plans, and what dependencies noted, of runs that ended long ago.

    The runs stay, and so does the list of what their plans did. So do pushes to modules: they keep
    an old event, sent once more, from starting a second run.
    """
    ended = Run.objects.filter(state__in=sorted(ENDED), moved_at__lt=oldest_kept())
    delete_in_portions(PlanPart.objects.filter(run__in=ended))
    delete_in_portions(LogChunk.objects.filter(run__in=ended))
    # What a dependency has seen keeps a version from being compared again; the page shows the last.
    later = DependencyRun.objects.filter(
        dependency=OuterRef("dependency"), version__gt=OuterRef("version")
    )
    delete_in_portions(DependencyRun.objects.filter(Exists(later), Q(run=None) | Q(run__in=ended)))
