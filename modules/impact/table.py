"""What the plans of an impact came to: a row for each stack, what destroys first."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from modules.models import Impact, ImpactPlan
from stacks.models import Run, Stack
from stacks.reports.texts import headline_of
from stacks.rules.states import DOES_NOT_COUNT, ENDED, State


class Outcome(IntEnum):
    """What became of a plan, in the order in which people have to know."""

    DESTROYS = 1
    FAILED = 2
    CHANGES = 3
    UNREAD = 4
    ENDED_EARLY = 5
    PENDING = 6
    NO_CHANGES = 7
    REST = 8
    NOT_PLANNED = 9


@dataclass(frozen=True)
class Row:
    """A stack, and the run that plans the proposed code in it, if there is one."""

    plan: ImpactPlan
    run: Run | None

    @property
    def stack(self) -> Stack:
        return self.plan.stack

    @property
    def outcome(self) -> Outcome:
        if self.run is None:
            if self.plan.why_not:
                return Outcome.NOT_PLANNED
            return Outcome.PENDING if self.plan.is_wanted else Outcome.REST
        if self.run.state == State.FAILED:
            return Outcome.FAILED
        if self.run.state in DOES_NOT_COUNT:
            return Outcome.ENDED_EARLY
        if self.run.state not in ENDED:
            return Outcome.PENDING
        if self.run.changes is None:
            return Outcome.UNREAD
        if self.run.destroyed:
            return Outcome.DESTROYS
        return Outcome.CHANGES if self.run.changes else Outcome.NO_CHANGES

    @property
    def has_counts(self) -> bool:
        return self.outcome in {Outcome.DESTROYS, Outcome.CHANGES, Outcome.NO_CHANGES}

    @property
    def failure(self) -> str:
        """Why its plan failed: what the first error says, or else what the run says."""
        return (headline_of(self.run) or self.run.failure) if self.run else ""

    @property
    def text(self) -> str:
        """Result, in a few words."""
        run = self.run
        if run is None:
            return self.plan.why_not or ("waiting" if self.plan.is_wanted else "not planned yet")
        if run.state == State.FAILED:
            return f"failed: {self.failure}" if self.failure else "failed"
        if self.outcome == Outcome.NO_CHANGES:
            return "no changes"
        if run.state == State.QUEUED:
            return "waiting"
        return (
            run.counts
            if run.changes
            else {State.FINISHED: "planned"}.get(State(run.state), run.get_state_display().lower())
        )


@dataclass(frozen=True)
class Table:
    """The stacks that use a module, and what its proposed code would change in them."""

    impact: Impact
    rows: Sequence[Row]

    def count(self, *outcomes: Outcome) -> int:
        return sum(row.outcome in outcomes for row in self.rows)

    @property
    def is_over(self) -> bool:
        """Whether all that is wanted has ended."""
        return not self.count(Outcome.PENDING)

    @property
    def summary(self) -> str:
        """How many stacks there are, and what became of them."""
        if not self.rows:
            return "No stack is known to use the module"
        counted = [f"{self.count(one)} {words}" for one, words in WORDS.items() if self.count(one)]
        stacks = f"{len(self.rows)} stack{'' if len(self.rows) == 1 else 's'}"
        return f"{stacks}: {', '.join(counted)}"


WORDS = {
    Outcome.DESTROYS: "destroying",
    Outcome.FAILED: "failed",
    Outcome.CHANGES: "changing",
    Outcome.UNREAD: "with a plan that could not be read",
    Outcome.ENDED_EARLY: "without a result",
    Outcome.PENDING: "not done yet",
    Outcome.NO_CHANGES: "without changes",
    Outcome.REST: "to plan on request",
    Outcome.NOT_PLANNED: "not planned",
}


def table_of(impact: Impact) -> Table:
    """Return what is known of an impact now."""
    plans = impact.plans.select_related("stack__repository__integration")
    runs = impact.runs().defer("plan").select_related("stack").order_by("number")
    newest: dict[int, Run] = {}
    for run in runs:
        there = newest.get(run.stack_id)
        if there is None or run.state not in DOES_NOT_COUNT or there.state in DOES_NOT_COUNT:
            newest[run.stack_id] = run
    rows = [Row(plan, newest.get(plan.stack_id) if plan.run_id else None) for plan in plans]
    return Table(impact, sorted(rows, key=_order))


def _order(row: Row) -> tuple[int, int, int]:
    destroyed = (row.run.destroyed or 0) if row.run else 0
    return row.outcome, -destroyed, row.plan.place
