"""The buttons of a run: what each of them does, and why one of them can't be pressed now."""

from collections.abc import Sequence
from dataclasses import dataclass

from accounts.models import User
from stacks.lifecycle.actions import Action, actions_for, refuses_confirmation, refuses_retry
from stacks.lifecycle.approvals import missing_after, refuses_person
from stacks.models import Approval, Run
from stacks.rules.changes import WILL
from stacks.rules.states import Kind, Operation, State

LABELS = {Action.DISCARD: "Discard", Action.CANCEL: "Cancel", Action.RETRY: "Retry"}


@dataclass(frozen=True)
class Button:
    """A button; `why_not` is empty if it can be pressed. If it `asks_again`, it leads to a page."""

    action: Action
    label: str
    why_not: str = ""
    asks_again: bool = False


def buttons_for(run: Run, person: User, approvals: Sequence[Approval]) -> list[Button]:
    """Return the buttons that a person may expect of a run of this kind in this state.

    `approvals` are those of its plan that count.
    """
    possible = actions_for(run)
    buttons = []
    for action in (Action.CONFIRM, *LABELS):
        if action not in possible:
            why_not = _why_not(run, action)
        elif action == Action.CONFIRM:
            why_not = refuses_person(run, person, approvals)
        else:
            why_not = ""
        if action in possible or why_not:
            label = LABELS.get(action) or _label_of_apply(run, person, approvals)
            asks_again = action == Action.CONFIRM and asks_before_apply(run)
            buttons.append(Button(action, label, why_not, asks_again))
    return buttons


def asks_before_apply(run: Run) -> bool:
    """Say whether the plan destroys or replaces resources, or may: then a page asks once more."""
    return bool(run.destroys or run.destroyed or run.is_unread)


def _label_of_apply(run: Run, person: User, approvals: Sequence[Approval]) -> str:
    is_waiting = run.state == State.UNCONFIRMED
    is_last = not is_waiting or missing_after(run, person, approvals) == 0
    verb = "Apply" if is_last else "Approve"
    if run.operation == Operation.REFRESH_ONLY:
        return f"{verb}: update the state"
    return f"{verb}: {run.changes.text(WILL)}" if run.changes else verb


def _why_not(run: Run, action: Action) -> str:
    """Say why an action is not possible; empty if nobody would expect it."""
    match action:
        case Action.CONFIRM:
            return _why_not_applied(run)
        case Action.CANCEL if run.state == State.APPLYING:
            return "An apply is never interrupted."
        case Action.RETRY if not run.has_ended:
            return "The run has not ended yet."
        case Action.RETRY if run.state == State.SUPERSEDED:
            return "A newer run took its place."
        case Action.RETRY:
            return refuses_retry(run)
    return ""


def _why_not_applied(run: Run) -> str:
    if run.state == State.UNCONFIRMED:
        return refuses_confirmation(run)
    if run.kind == Kind.TRACKED and run.state in {State.QUEUED, State.PREPARING, State.PLANNING}:
        return "There is no plan yet."
    if run.kind == Kind.PROPOSED and run.state == State.FINISHED and run.changes:
        return "Proposed code is only planned. Merge it to apply it."
    return ""
