"""What a worker stores of the run that it holds, while it does it and at its end."""

import logging
from typing import Any

from django.db import DatabaseError, InterfaceError, transaction
from django.utils import timezone

from stacks.execution import queue
from stacks.execution.isolation.sandbox import Stopped
from stacks.execution.retries import with_retries
from stacks.lifecycle.drift import note_drift
from stacks.models import Dependency, Run
from stacks.rules.states import Kind, State

logger = logging.getLogger(__name__)


def fail(run: Run, sentence: str, errors: str = "") -> None:
    """End a run as failed, if it is still this worker's."""
    ended = "apply_ended_at" if run.state == State.APPLYING else "plan_ended_at"
    try:
        fields = {"failure": sentence[:1000], "errors": errors, ended: timezone.now()}
        end(run, State.FAILED, **fields)
    except Stopped:
        logger.info("%s of %s had ended: %s", run, run.stack, sentence)
    except (DatabaseError, InterfaceError):  # its lease ends, and others requeue or fail it
        logger.exception("%s of %s could not be ended", run, run.stack)


def report(run: Run, sentence: str) -> None:
    """Log something that the operator has to do, and show it on the run's page."""
    logger.error("%s of %s: %s", run, run.stack, sentence)
    note(run, {"warnings": [*run.warnings, sentence]})


def note(run: Run, fields: dict[str, Any]) -> None:
    """Store what is known of a run by now."""
    with_retries(lambda: run.held().update(**fields))
    for name, value in fields.items():
        setattr(run, name, value)


def end(run: Run, state: State, **fields: Any) -> None:
    """Move a run on and release it. Raises Stopped when it is not this worker's any more."""
    with_retries(lambda: move(run, state, **queue.FREE, **fields))


@transaction.atomic
def move(run: Run, state: State, **fields: Any) -> None:
    """Move a run on, and keep it. Raises Stopped when it is not this worker's any more."""
    held = Run.objects.filter(pk=run.pk, lease_token=run.lease_token, state=run.state)
    if not held.move_to(state):
        raise Stopped
    Run.objects.filter(pk=run.pk).update(**fields)
    if state == State.FINISHED and run.kind == Kind.TRACKED:
        Dependency.objects.make_due(run.stack)
    if state == State.FINISHED and run.kind == Kind.DRIFT:
        note_drift(run)
    run.refresh_from_db()
