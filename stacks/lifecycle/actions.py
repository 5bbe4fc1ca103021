"""What people do with a run: approve, confirm, discard, cancel, retry."""

from django.db import IntegrityError, transaction
from django.db.models import Q

from accounts.models import User
from stacks.lifecycle.approvals import counting_approvals, missing_after, refuses_person
from stacks.lifecycle.basis import why_state_refuses
from stacks.lifecycle.drift import applied_run
from stacks.lifecycle.forks import is_refused
from stacks.lifecycle.module_changes import why_module_is_not_planned
from stacks.lifecycle.starting import repeat
from stacks.models import Approval, Run, RunAction, plan_digest_of
from stacks.models.run import RunQuerySet
from stacks.rules.states import ENDED, HOLDS_STACK, MOVES, IllegalMove, Kind, Origin, State
from vcs_integrations.models import Repository

Action = RunAction.Action
# What each action leads to; a retry makes another run. Where several people have to approve a
# plan, all confirm, and only the last one's approval leads there.
LEADS_TO = {
    Action.CONFIRM: State.CONFIRMED,
    Action.DISCARD: State.DISCARDED,
    Action.CANCEL: State.CANCELED,
}
# What newer code has replaced isn't retried.
RETRIED = {State.FINISHED, State.FAILED, State.DISCARDED, State.CANCELED}


class NotPossible(Exception):
    """An action that can't be done with a run; the text says why."""


def actions_for(run: Run) -> list[Action]:
    """Return what may be done with a run as it is."""
    possible = [action for action, state in LEADS_TO.items() if _may(run, action, state)]
    if Action.CONFIRM in possible and refuses_confirmation(run):
        possible.remove(Action.CONFIRM)
    if not refuses_retry(run):
        possible.append(Action.RETRY)
    return possible


def act(run: Run, action: Action, person: User, note: str) -> Run:
    """Do something with a run in somebody's name; return the run to show afterward.

    It still waits after a confirmation if others have to approve its plan, too. Raises
    NotPossible, also when somebody else, or newer code, was quicker.
    """
    if action == Action.RETRY:
        return _retry(run, person, note)
    state = LEADS_TO[action]
    if not _may(run, action, state):
        raise NotPossible(_too_late(run))
    if action == Action.CONFIRM and (reason := refuses_confirmation(run)):
        raise NotPossible(reason)
    try:
        with transaction.atomic():
            if action == Action.CONFIRM and _approve(run, person):
                _record(run, Action.APPROVE, person, note)
            else:
                run.move_to(state)
                _record(run, action, person, note)
    except IllegalMove:
        run.refresh_from_db(fields=["state"])
        raise NotPossible(_too_late(run)) from None
    return run


def refuses_confirmation(run: Run) -> str:
    """Say why the plan of a run that waits for a person can't be confirmed; empty if it can."""
    reason = why_state_refuses(run)
    return f"{reason} Discard it, then retry it to plan again." if reason else ""


def _approve(run: Run, person: User) -> int:
    """Store that a person approves the plan of a run; return how many more have to.

    Of two who approve at once, the second waits here and then counts the first. Raises
    NotPossible, and IllegalMove if the run waits no longer.
    """
    waiting = Run.objects.filter(pk=run.pk, state=State.UNCONFIRMED)
    if not waiting.select_for_update(of=("self",)).exists():
        raise IllegalMove(f"{run} does not wait any more.")
    run.stack.refresh_from_db(fields=["confirmers", "approvals_needed", "excludes_author"])
    approvals = counting_approvals(run)
    if reason := refuses_person(run, person, approvals):
        raise NotPossible(reason)
    approved = {"digest": plan_digest_of(run)}
    Approval.objects.update_or_create(run=run, person=person, defaults=approved)
    return missing_after(run, person, approvals)


def refuses_retry(run: Run) -> str:
    """Say why a run can't be retried; empty if it can."""
    if run.state not in RETRIED:
        return _too_late(run)
    stack = run.stack
    if stack.is_detached or run.repository_id != stack.repository_id:
        return "The stack does not follow that repository any more."
    if run.kind == Kind.TRACKED:
        if _newer(run).exists() or run.branch != stack.branch[:500]:
            return "There is newer code or a newer run: retry that one."
        return ""
    if run.kind == Kind.DRIFT:
        applied = applied_run(stack)
        is_applied = applied and applied.sha == run.sha
        return "" if is_applied else "Other code was applied since: trigger drift detection."
    if is_refused(run):
        return "The stack does not run the code of forks."
    if reason := why_module_is_not_planned(run):
        return reason
    unfinished = stack.runs.filter(
        kind=run.kind,
        origin=run.origin,
        sha=run.sha,
        state__in=[State.QUEUED, *HOLDS_STACK],
    )
    if run.origin == Origin.IMPACT:
        unfinished = unfinished.filter(
            proposed_module__pull_request=run.proposed_module.pull_request_id,
            proposed_module__address=run.proposed_module.address,
        )
    return "The commit has a run that is under way." if unfinished.exists() else ""


def _newer(run: Run) -> RunQuerySet:
    """Return the runs that count instead of a tracked run.

    The status of a commit says how the last run of its code ended. What a person or a schedule
    started of the same commit does not change that, so once it has ended, it keeps nobody from a
    retry.
    """
    newer = run.stack.runs.filter(kind=Kind.TRACKED, number__gt=run.number)
    newer = newer.exclude(state=State.SUPERSEDED)
    if run.is_of_code:
        newer = newer.filter(Q(origin=Origin.PUSH) | ~Q(sha=run.sha) | ~Q(state__in=ENDED))
    return newer


def _may(run: Run, action: Action, state: State) -> bool:
    return state in MOVES[State(run.state)] and (
        # People confirm only what waits for it; autodeploy moves a run there itself.
        action != Action.CONFIRM or run.state == State.UNCONFIRMED
    )


def _too_late(run: Run) -> str:
    return f"{run} {run.state_clause}, so that is not possible any more."


def _retry(run: Run, person: User, note: str) -> Run:
    """Start a run that repeats another."""
    try:
        with transaction.atomic():
            # Whatever starts runs waits here for the others, so that none compute one number.
            Repository.objects.select_for_update().get(pk=run.repository_id)
            run.stack.refresh_from_db(fields=["repository", "branch"])
            if reason := refuses_retry(run):
                raise NotPossible(reason)
            repeated = repeat(run, person=person)
            _record(run, Action.RETRY, person, note)
    except IntegrityError:  # a push started a run at the same moment
        raise NotPossible("A newer run has just started.") from None
    return repeated


def _record(run: Run, action: Action, person: User, note: str) -> None:
    RunAction.objects.create(
        run=run, action=action, person=person, username=person.get_username(), note=note[:500]
    )
