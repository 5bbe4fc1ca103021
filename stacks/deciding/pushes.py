"""A push, for one stack: the head moves, and there is a run or a reason for none."""

from django.db.models import QuerySet

from stacks.deciding.facts import Facts
from stacks.lifecycle.starting import (
    Source,
    start_proposed,
    start_tracked,
    supersede_older,
    tie_to_push,
)
from stacks.models import Decision, Run, Stack
from stacks.rules import triggers
from stacks.rules.states import DOES_NOT_COUNT, Kind
from stacks.rules.triggers import Rule
from vcs_integrations.models import Delivery
from vcs_integrations.providers.events import RefChanged, RemoteCommit


def take_push(
    stack: Stack, event: RefChanged, delivery: Delivery | None, facts: Facts
) -> Decision | None:
    """Decide what a changed ref means for a stack, and store it.

    None where a reconciliation found what is decided already, or what was before the stack.
    Raises NotRead.
    """
    subject = _subject(event)
    # What was decided before is of another branch or repository, perhaps.
    decided = stack.decisions.filter(subject=subject, decided_at__gte=stack.followed_at)
    if delivery is None and decided.exists():
        return None
    run_of_push, run_of_commit = _runs_of(stack, event, decided)
    decision = triggers.decide_ref(
        stack,
        event,
        run_of_push=run_of_push.number if run_of_push else None,
        run_of_commit=run_of_commit.number if run_of_commit else None,
        read_paths=lambda: facts.paths_of_push(stack, event),
    )
    if decision.rule == Rule.BEFORE_STACK and delivery is None:
        return None
    is_replayed = delivery is not None and delivery.processed_at is not None
    if decision.starts_run and not is_replayed and decided.exists():
        # Settings changed since: a person may decide again, and not whoever can send deliveries.
        decision = triggers.decided_before()
    if event.branch == stack.branch and decision.rule != Rule.BEFORE_STACK:
        _move_head(stack, event, facts)
    run = None
    if decision.starts_run:
        run = _start(stack, event, decision, facts, is_reconciled=delivery is None)
    elif decision.rule == Rule.SAME_PUSH:
        run = run_of_push
    elif decision.rule == Rule.SAME_COMMIT and run_of_commit:
        run = run_of_commit
        tie_to_push(run, event.branch, event.push_id)
        supersede_older(stack, Source(event.branch, event.push_id))
    return Decision.objects.record(stack, subject, decision, delivery, run)


def _subject(event: RefChanged) -> str:
    return f"Push {event.push_id} to {event.branch or event.ref}"[:700]


def _runs_of(
    stack: Stack, event: RefChanged, decided: QuerySet[Decision]
) -> tuple[Run | None, Run | None]:
    """Return the run that a push has or was told, and the one that counts for its commit."""
    if event.branch == stack.branch:
        tracked = stack.runs.filter(kind=Kind.TRACKED, repository_id=stack.repository_id)
        return tracked.filter(push_id=event.push_id).first(), None
    proposed = stack.runs.filter(kind=Kind.PROPOSED, repository_id=stack.repository_id)
    of_commit = list(proposed.filter(sha=event.new_sha).order_by("number"))
    if not of_commit:
        return None, None
    own = (run for run in of_commit if run.push_id == event.push_id)
    counting = (run for run in of_commit if run.state not in DOES_NOT_COUNT)
    return next(own, None) or _run_told(decided), next(counting, None)


def _run_told(decided: QuerySet[Decision]) -> Run | None:
    """Return the run of the same commit that a push was told before."""
    told = decided.exclude(run=None).first()
    return told.run if told else None


def _move_head(stack: Stack, event: RefChanged, facts: Facts) -> None:
    if stack.head_push_id is not None and event.push_id < stack.head_push_id:
        return
    if event.is_deletion:
        # The push that brought the last commit may be late, or lost.
        if event.old_sha and event.old_sha != stack.head_sha:
            stack.move_head(event.push_id, facts.commit(event.repository_id, event.old_sha))
        stack.lose_head(event.push_id)
    else:
        stack.move_head(event.push_id, _commit(event, facts))


def _start(
    stack: Stack,
    event: RefChanged,
    decision: triggers.Decision,
    facts: Facts,
    *,
    is_reconciled: bool,
) -> Run:
    start = start_tracked if decision.rule == Rule.TRACKED else start_proposed
    source = Source(event.branch, event.push_id)
    commit = _commit(event, facts)
    return start(stack, commit, source, note=decision.note, is_reconciled=is_reconciled)


def _commit(event: RefChanged, facts: Facts) -> RemoteCommit:
    return event.commit or facts.commit(event.repository_id, event.new_sha)
