"""Pull requests that were open before their stack followed the branch: which wait, and for what.

A reconciliation stores what is open and counts here what the stack has not decided about. A few
are planned at once (`stacks.deciding.planning`); for many, a person decides on the stack's page.
"""

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from stacks.models import PullRequest, Report, Stack
from stacks.models.report import ReportQuerySet, What
from stacks.rules.states import ENDED, Kind
from stacks.rules.triggers import Rule
from vcs_integrations.models import Repository

# At most this many are planned automatically, and at most this many unfinished proposed runs exist.
MOST_AT_ONCE = 10


def is_answered(stack: Stack, pull_request: PullRequest, revision: int) -> bool:
    """Say whether a stack, as it follows its branch now, has decided about a revision."""
    if pull_request.pk is None:  # it was never read before
        return False
    answers = _answers(stack).filter(revision=revision)
    return answers.filter(pull_request=pull_request).exists()


def waiting(stack: Stack) -> QuerySet[PullRequest]:
    """Return the open pull requests to a stack's branch that it has not decided about."""
    answers = _answers(stack).filter(pull_request=OuterRef("pk"), revision=OuterRef("revision"))
    return PullRequest.objects.open_to(stack).filter(~Exists(answers))


def has_room(stack: Stack) -> bool:
    """Say whether another one may be planned, given the stack's unfinished proposed runs."""
    unfinished = stack.runs.filter(kind=Kind.PROPOSED).exclude(state__in=ENDED)
    return unfinished.count() < MOST_AT_ONCE


def count_older(stacks: Sequence[Stack]) -> None:
    """Store for stacks whose open pull requests were just read whether the older ones are planned.

    A few are planned. Otherwise each is reported as pending until a person decides.
    """
    for stack in stacks:
        if stack.plans_older is None:
            _count(stack)


def plan_older(stack: Stack) -> int:
    """Have the older pull requests of a stack planned; return how many there are."""
    count = waiting(stack).count()
    _as_followed(stack).update(plans_older=True, plan_older_at=timezone.now())
    _reports(stack).filter(blocked_by=Rule.BEFORE_STACK).renew()
    return count


def go_on_planning(stack: Stack) -> None:
    """Have the worker plan what there was no room for, also where it had done everything."""
    idle = Stack.objects.filter(pk=stack.pk, plans_older=True, plan_older_at=None)
    idle.update(plan_older_at=timezone.now())


@transaction.atomic
def _count(stack: Stack) -> None:
    # No worker may decide about one of them meanwhile.
    Repository.objects.select_for_update().get(pk=stack.repository_id)
    rows = list(waiting(stack))
    are_few = len(rows) <= MOST_AT_ONCE
    counted = (
        _as_followed(stack)
        .filter(plans_older=None)
        .update(plans_older=are_few, plan_older_at=timezone.now() if are_few and rows else None)
    )
    if counted and not are_few:
        for row in rows:
            Report.objects.add_revision(
                stack, row, row.revision, row.source_sha, blocked_by=Rule.BEFORE_STACK
            )


def _as_followed(stack: Stack) -> QuerySet[Stack]:
    """Return the stack's row, unless it follows another branch by now."""
    return Stack.objects.filter(pk=stack.pk, followed_at=stack.followed_at)


def _reports(stack: Stack) -> ReportQuerySet:
    return Report.objects.filter(stack=stack, decided_at__gte=stack.followed_at)


def _answers(stack: Stack) -> ReportQuerySet:
    """Return the comments about what was decided, and not only that an older one waits.

    Every pull request that was decided about has one, posted or not; not every host has statuses
    of pull requests.
    """
    return _reports(stack).filter(what=What.COMMENT).exclude(blocked_by=Rule.BEFORE_STACK)
