"""Run stacks whose dependencies changed outputs.

The end of a tracked run makes the dependencies on its stack due, in the same transaction. What is
compared is the state that a dependency has seen last with the newest one, so that nothing is lost
that an apply changed before it failed or its worker died.
"""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from core.encryption import WrongKey
from core.leases import LeaseLost
from stacks.dependencies.outputs import changed_outputs
from stacks.lifecycle.triggering import NotTriggered, head_of, trigger
from stacks.models import Dependency, DependencyRun, Run
from stacks.rules.states import Kind, Origin, State
from stacks.tfstate.files import InvalidState

LEASE = timedelta(minutes=1)
# While the other stack applies, its state is unfinished.
LOOK_AGAIN_AFTER = timedelta(seconds=10)
FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=30), timedelta(hours=1)
MOST_NAMED = 5


def follow_next() -> bool:
    """Compare the outputs of one due dependency, and run its stack; False if none is due."""
    dependency = Dependency.objects.claim_one(LEASE)
    if dependency is None:
        return False
    _follow(dependency)
    return True


def _follow(dependency: Dependency) -> None:
    on = dependency.on
    if on.runs.filter(kind=Kind.TRACKED, state=State.APPLYING).exists():
        dependency.release(timezone.now() + LOOK_AGAIN_AFTER)
        return
    newest = on.state_versions.values_list("number", flat=True).first() or 0
    try:
        changed = changed_outputs(on, dependency.seen_version, newest)
        wanted = [one for one in changed if not dependency.outputs or one in dependency.outputs]
        _store(dependency, newest, wanted)
    except LeaseLost:
        return  # another worker does it
    except (InvalidState, NotTriggered, WrongKey) as error:
        dependency.retry_later(FIRST_RETRY, LONGEST_RETRY, problem=str(error)[:500])


@transaction.atomic
def _store(dependency: Dependency, version: int, changed: list[str]) -> None:
    """Start the run, and remember the version for which it is: both, or neither.

    Raises NotTriggered, and LeaseLost.
    """
    if changed:
        run = _start(dependency, changed)
        DependencyRun.objects.create(
            dependency=dependency, version=version, outputs=changed, run=run
        )
    if not dependency.release(None, seen_version=version, problem=""):
        raise LeaseLost


def _start(dependency: Dependency, changed: list[str]) -> Run:
    """Start a tracked run of the head; one that waits for the same already does it. Raises
    NotTriggered.
    """
    stack, note = dependency.stack, _note(dependency, changed)
    try:
        return trigger(stack, Kind.TRACKED, head_of(stack), origin=Origin.DEPENDENCY, note=note)
    except NotTriggered as error:
        if error.run is None:
            raise
        return error.run


def _note(dependency: Dependency, changed: list[str]) -> str:
    names = ", ".join(changed[:MOST_NAMED])
    more = len(changed) - MOST_NAMED
    said = f"{names} and {more} more" if more > 0 else names
    verb = "outputs" if len(changed) > 1 else "output"
    return f"{dependency.on} changed the {verb} {said}."
