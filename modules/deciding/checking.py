"""Having the code of modules checked: each commit once, and again for a version that is new."""

from collections.abc import Iterable

from django.db.models import Case, F, Q, Value, When
from django.utils import timezone

from modules.models import Check, CheckState, Module


def check_once(module: Module, sha: str) -> None:
    """Have a commit checked, unless it was or is being checked."""
    Check.objects.get_or_create(module=module, sha=sha, defaults={"due_at": timezone.now()})


def lock_checks(module: Module, shas: Iterable[str]) -> None:
    """Hold the checks of commits to the end of the transaction, before their versions are held.

    A worker that ends a check publishes by it, and holds both in the same order.
    """
    checks = Check.objects.filter(module=module, sha__in=[*shas]).select_for_update()
    list(checks.order_by("pk").values_list("pk"))


def check_for_versions(module: Module, shas: Iterable[str]) -> None:
    """Have commits checked of which versions have just become, the first one first.

    Where a commit was checked before, for a pull request perhaps, it is checked again: the check
    publishes. One that runs is repeated once it ends: it may not have seen the version.
    """
    wanted, now = dict.fromkeys(shas), timezone.now()
    if not wanted:
        return
    again = Check.objects.filter(module=module, sha__in=[*wanted])
    known = set(again.values_list("sha", flat=True))
    has_ended = Q(state__in=[CheckState.PASSED, CheckState.FAILED])
    again.update(
        due_at=now, state=Case(When(has_ended, then=Value(CheckState.QUEUED)), default=F("state"))
    )
    Check.objects.bulk_create(
        Check(module=module, sha=sha, due_at=now) for sha in wanted if sha not in known
    )
