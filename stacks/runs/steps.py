"""The way of a run, step by step: how long each took, and who did it; and what superseded it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.db.models import Q

from stacks.models import Approval, Run, RunAction, RunSource
from stacks.models.run import duration_text
from stacks.rules.states import Kind, State

Action = RunAction.Action


class Status(StrEnum):
    DONE = "done"
    NOW = "now"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"
    AHEAD = "ahead"


@dataclass(frozen=True)
class Step:
    """One step; `detail` is a few words on it, and `since` is when the current one began."""

    name: str
    status: Status
    detail: str = ""
    since: datetime | None = None


def steps_of(run: Run, actions: Sequence[RunAction], approvals: Sequence[Approval]) -> list[Step]:
    """Return the steps that a run of this kind takes.

    `actions` are what people did with it, `approvals` those of its plan that count.
    """
    confirmed_by = next((one for one in actions if one.action == Action.CONFIRM), None)
    stopped = _stopped_text(run, actions)
    if run.kind != Kind.TRACKED:
        name = "Compared" if run.kind == Kind.DRIFT else "Planned"
        return [_queued(run, stopped), _planned(run, name, stopped)]
    return [
        _queued(run, stopped),
        _planned(run, "Planned", stopped),
        _confirmed(run, confirmed_by, stopped, approvals),
        _applied(run, confirmed_by, stopped),
    ]


def successor_of(run: Run) -> Run | None:
    """Return the run that superseded another, as far as is known."""
    if run.state != State.SUPERSEDED:
        return None
    if run.kind == Kind.TRACKED:
        newer = run.stack.runs.filter(
            kind=Kind.TRACKED, repository_id=run.repository_id, branch=run.branch
        )
        return newer.filter(position__gt=run.position or 0).order_by("position", "number").first()
    sources = run.sources.all()
    same = Q(pull_request__in=[one.pull_request_id for one in sources if one.pull_request_id])
    same |= Q(pull_request=None, branch__in=[one.branch for one in sources])
    later = RunSource.objects.filter(same, stack=run.stack_id, run__number__gt=run.number)
    found = later.filter(repository=run.repository_id).order_by("run__number")
    first = found.select_related("run__stack").first()
    return first.run if first else None


def _stopped_text(run: Run, actions: Sequence[RunAction]) -> str:
    """Return how a run was ended early, like “Canceled by bob”; empty if it was not."""
    if run.state not in {State.DISCARDED, State.CANCELED, State.SUPERSEDED}:
        return ""
    ends = {Action.DISCARD: State.DISCARDED, Action.CANCEL: State.CANCELED}
    for one in actions:
        if ends.get(Action(one.action)) == run.state:
            return f"{one.get_action_display()} by {one.username}"
    return run.state.capitalize()


def _queued(run: Run, stopped: str) -> Step:
    if run.state == State.QUEUED:
        return Step("Queued", Status.NOW, since=run.moved_at)
    if stopped and not run.plan_started_at:
        return Step("Queued", Status.STOPPED, stopped)
    return Step("Queued", Status.DONE, duration_text(run.created_at, run.plan_started_at))


def _planned(run: Run, name: str, stopped: str) -> Step:
    if run.state == State.QUEUED:
        return Step(name, Status.AHEAD)
    if run.state in {State.PREPARING, State.PLANNING}:
        return Step(name, Status.NOW, since=run.plan_started_at)
    if run.state == State.FAILED and not run.apply_started_at:
        return Step(name, Status.FAILED, run.plan_duration)
    if stopped and not run.plan_ended_at:
        has_begun = bool(run.plan_started_at)
        return Step(name, Status.STOPPED, stopped) if has_begun else Step(name, Status.SKIPPED)
    return Step(name, Status.DONE, run.plan_duration)


def _confirmed(run: Run, by: RunAction | None, stopped: str, approvals: Sequence[Approval]) -> Step:
    if run.state in {State.QUEUED, State.PREPARING, State.PLANNING}:
        return Step("Confirmed", Status.AHEAD)
    if run.state == State.UNCONFIRMED:
        needed = run.stack.approvals_needed
        detail = f"{len(approvals)} of {needed} approvals" if needed > 1 else ""
        return Step("Confirmed", Status.NOW, detail, since=run.moved_at)
    if by:
        waited = duration_text(run.plan_ended_at, by.at)
        detail = f"by {by.username}, {waited}" if waited else f"by {by.username}"
        return Step("Confirmed", Status.DONE, detail)
    if run.apply_started_at or run.state in {State.CONFIRMED, State.APPLYING}:
        return Step("Confirmed", Status.DONE, "by autodeploy")
    if stopped and run.plan_ended_at:
        return Step("Confirmed", Status.STOPPED, stopped)
    return Step("Confirmed", Status.SKIPPED)


def _applied(run: Run, by: RunAction | None, stopped: str) -> Step:
    if run.state == State.APPLYING:
        return Step("Applied", Status.NOW, since=run.apply_started_at)
    if run.apply_started_at:
        status = Status.FAILED if run.state == State.FAILED else Status.DONE
        return Step("Applied", status, run.apply_duration)
    if not run.has_ended:
        return Step("Applied", Status.AHEAD)
    if stopped and by:
        return Step("Applied", Status.STOPPED, stopped)
    return Step("Applied", Status.SKIPPED, "No changes" if run.state == State.FINISHED else "")
