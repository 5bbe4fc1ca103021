"""The states of a run, and which may follow which."""

from django.db.models import TextChoices


class Kind(TextChoices):
    """What a run is for: the tracked branch, code that is proposed for it, or to detect drift.

    A drift run plans the code that was applied last, and applies nothing.
    """

    TRACKED = "tracked"
    PROPOSED = "proposed"
    DRIFT = "drift"


class Operation(TextChoices):
    """What a run plans, in Terraform's terms.

    https://developer.hashicorp.com/terraform/cli/commands/plan#planning-modes
    """

    APPLY = "apply", "Plan and apply"
    DESTROY = "destroy", "Destroy"
    REFRESH_ONLY = "refresh_only", "Refresh only"


class Origin(TextChoices):
    """What started a run: code that was pushed or proposed, or something else."""

    PUSH = "push"
    PERSON = "person"
    SCHEDULE = "schedule"
    DRIFT = "drift"
    MODULE = "module"
    DEPENDENCY = "dependency"
    IMPACT = "impact"


class State(TextChoices):
    """The state of a run; what the provider shows is its status."""

    QUEUED = "queued"
    PREPARING = "preparing"
    PLANNING = "planning"
    UNCONFIRMED = "unconfirmed"
    CONFIRMED = "confirmed"
    APPLYING = "applying"
    FINISHED = "finished"
    FAILED = "failed"
    DISCARDED = "discarded"
    CANCELED = "canceled"
    SUPERSEDED = "superseded"


_EARLY_ENDS = {State.CANCELED, State.SUPERSEDED}
MOVES: dict[State, set[State]] = {
    State.QUEUED: {State.PREPARING, *_EARLY_ENDS},
    # A run goes back to the queue if its worker ends.
    State.PREPARING: {State.PLANNING, State.FAILED, State.QUEUED, *_EARLY_ENDS},
    State.PLANNING: {
        State.UNCONFIRMED,
        State.CONFIRMED,  # with autodeploy
        State.FINISHED,
        State.FAILED,
        State.QUEUED,
        *_EARLY_ENDS,
    },
    State.UNCONFIRMED: {State.CONFIRMED, State.DISCARDED, *_EARLY_ENDS},
    State.CONFIRMED: {State.APPLYING, State.CANCELED},
    State.APPLYING: {State.FINISHED, State.FAILED},
    State.FINISHED: set(),
    State.FAILED: set(),
    State.DISCARDED: set(),
    State.CANCELED: set(),
    State.SUPERSEDED: set(),
}
ENDED = {state for state, moves in MOVES.items() if not moves}
UNDER_WAY = set(State) - ENDED - {State.QUEUED}
# All other runs only plan.
TRACKED_ONLY = {State.UNCONFIRMED, State.CONFIRMED, State.APPLYING, State.DISCARDED}
# While a tracked run is in one of these, no other one of its stack begins.
HOLDS_STACK = {
    State.PREPARING,
    State.PLANNING,
    State.UNCONFIRMED,
    State.CONFIRMED,
    State.APPLYING,
}
# For the end of which tracked run of its stack a queued run of a kind waits. What is proposed waits
# for none, and what is being applied is not compared yet.
HOLDS_BACK: dict[Kind, set[State]] = {
    Kind.TRACKED: HOLDS_STACK,
    Kind.PROPOSED: set(),
    Kind.DRIFT: {State.CONFIRMED, State.APPLYING},
}
# Ends after which a commit may be run again.
DOES_NOT_COUNT = {State.CANCELED, State.SUPERSEDED}


class IllegalMove(Exception):
    """A run can't go from its state to that one, or no longer."""
