"""Plan open pull requests again once the tracked branch or the state moved.

It waits until nothing moves and no tracked run is unfinished, and plans a few at a time. What can't
be planned again yet is reported as out of date.
"""

from collections.abc import Iterator
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from stacks.lifecycle.basis import moved_since, read_now
from stacks.lifecycle.forks import is_allowed_once
from stacks.lifecycle.starting import repeat
from stacks.models import PullRequest, Report, Run, Stack
from stacks.rules.states import ENDED, Kind, State
from vcs_integrations.models import Repository

LOOK_AGAIN_AFTER = timedelta(seconds=10)
MOST_AT_ONCE = 3


def plan_again_next() -> bool:
    """Plan out-of-date plans of one due stack again; False if none is due."""
    due = Stack.objects.reachable().filter(plan_again_at__lte=timezone.now())
    found = due.order_by("plan_again_at").first()
    if found is None:
        return False
    with transaction.atomic():
        # No worker may start a run of its code meanwhile.
        Repository.objects.select_for_update().get(pk=found.repository_id)
        claimed = Stack.objects.filter(pk=found.pk, plan_again_at=found.plan_again_at)
        if stack := claimed.select_for_update(of=("self",)).with_repository().first():
            is_done = _plan_again(stack)
            claimed.update(plan_again_at=None if is_done else timezone.now() + LOOK_AGAIN_AFTER)
    return True


def may_be_planned_again(run: Run, pull_request: PullRequest) -> bool:
    """Say whether a pull request's run is repeated without a person's help."""
    stack = run.stack
    is_unwanted_draft = pull_request.is_draft and not stack.runs_drafts
    return stack.plans_again and not is_unwanted_draft and not is_allowed_once(run)


def _plan_again(stack: Stack) -> bool:
    """Plan again as much as there is room for; say whether nothing is left to do."""
    has_to_wait = stack.runs.filter(kind=Kind.TRACKED).exclude(state__in=ENDED).exists()
    unfinished = stack.runs.filter(kind=Kind.PROPOSED).exclude(repeats=None)
    room = MOST_AT_ONCE - unfinished.exclude(state__in=ENDED).count()
    is_done = True
    for run, pull_request, because in _outdated(stack):
        may_be = may_be_planned_again(run, pull_request)
        if may_be and room > 0 and not has_to_wait:
            room -= 1
            Run.objects.filter(pk=run.pk).exclude(state__in=ENDED).move_to(State.SUPERSEDED)
            repeat(run, note=f"Planned again: {because}.")
        else:
            _report_outdated(run)
            is_done = is_done and not may_be
    return is_done


def _outdated(stack: Stack) -> Iterator[tuple[Run, PullRequest, str]]:
    """Yield the runs that count for open pull requests and are out of date, and why."""
    rows = {row.source_sha: row for row in PullRequest.objects.open_to(stack)}
    runs = stack.runs.filter(
        kind=Kind.PROPOSED, repository_id=stack.repository_id, sha__in=list(rows)
    )
    runs = runs.of_code().that_count()
    newest = {run.sha: run for run in runs.order_by("number")}
    now = read_now(stack)
    for run in newest.values():
        run.stack = stack
        if run.state != State.QUEUED and (because := moved_since(run, now)):
            yield run, rows[run.sha], because


def _report_outdated(run: Run) -> None:
    """Have it reported, unless the provider already shows its result as pending."""
    Report.objects.filter(is_pending=False).renew_about([run])
