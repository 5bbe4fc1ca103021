"""Storing what a plan does, part by part, so that no other write waits for long."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import count

from django.db import transaction

from core.leases import LeaseLost
from stacks.execution.retries import with_retries
from stacks.execution.tools.plan_changes import Found
from stacks.models import PlanChange, PlanPart, Run

# A part ends with as many changes, or once its values have as many characters.
CHANGES_IN_PART = 100
CHARACTERS_IN_PART = 500_000


def store_plan(run: Run, found: Iterable[Found]) -> None:
    """Store what the plan of a held run does, in place of what was stored of an earlier one.

    Raises LeaseLost once another worker has claimed the run.
    """
    with_retries(partial(_clear, run))
    numbers = count(1)
    for part, changes in enumerate(_parts(found), start=1):
        for one in changes:
            one.change.run, one.change.number, one.change.part = run, next(numbers), part
        with_retries(partial(_add, run, part, changes))


@transaction.atomic
def _clear(run: Run) -> None:
    _hold(run)
    PlanPart.objects.filter(run=run).delete()
    PlanChange.objects.filter(run=run).delete()


@transaction.atomic
def _add(run: Run, part: int, changes: list[Found]) -> None:
    _hold(run)
    PlanChange.objects.bulk_create([one.change for one in changes])
    PlanPart.of(run, part, {one.change.number: one.values for one in changes}).save()


def _hold(run: Run) -> None:
    if not run.held().select_for_update(of=("self",)).exists():
        raise LeaseLost


def _parts(found: Iterable[Found]) -> Iterator[list[Found]]:
    part: list[Found] = []
    size = 0
    for one in found:
        part.append(one)
        size += one.size
        if len(part) == CHANGES_IN_PART or size >= CHARACTERS_IN_PART:
            yield part
            part, size = [], 0
    if part:
        yield part
