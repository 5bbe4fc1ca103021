"""Drift: what there is differs from what was applied, since somebody changed it outside.

A drift run makes a refresh-only plan of the commit that was applied last, and so it compares the
state with what there is, whatever was pushed since. Its code was applied with the secrets of
tracked runs, so it finds these again.
"""

from stacks.lifecycle.basis import why_state_refuses
from stacks.models import Run, Stack
from stacks.rules.states import Kind, Operation, State
from stacks.run_events import listener

CHANGED_MEANWHILE = (
    "A run was applied while this one compared, so what it found may be wrong and does not count. "
    "Trigger drift detection again."
)


def applied_run(stack: Stack) -> Run | None:
    """Return the last run after which what there is was as the code of a commit says.

    It applied all of the plan, or found nothing to do. One that was limited, or that only
    refreshed or destroyed, does not say what the code is.
    """
    finished = stack.runs.filter(
        kind=Kind.TRACKED,
        state=State.FINISHED,
        operation=Operation.APPLY,
        targets=[],
        repository_id=stack.repository_id,
        branch=stack.branch[:500],
    )
    return finished.select_related("repository__integration").order_by("-number").first()


def overlaps_apply(run: Run) -> bool:
    """Say whether a tracked run was applied at any time since a drift run began."""
    applied = Run.objects.filter(
        stack=run.stack_id, kind=Kind.TRACKED, apply_started_at__isnull=False
    )
    ended_before = applied.filter(apply_ended_at__lt=run.plan_started_at)
    return applied.exclude(pk__in=ended_before.values("pk")).exists()


def note_drift(run: Run) -> None:
    """Store that a finished drift run is its stack's newest, unless what it compared changed since.

    What changes after that was asked forgets it again: an apply, or a restored state. To be called
    in the transaction that ends the run.
    """
    stack = Stack.objects.filter(pk=run.stack_id)
    stack.update(drift_run=run)
    if overlaps_apply(run) or why_state_refuses(run):
        stack.forget_drift()
    elif Run.objects.get(pk=run.pk).has_drift:
        listener().on_drift(run.pk)
