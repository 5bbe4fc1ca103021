"""What a plan was made from, and whether that has moved since: then the plan is out of date."""

from typing import NamedTuple

from stacks.models import Run, Stack
from stacks.rules.states import Kind


class Now(NamedTuple):
    """The basis of a plan; push and commit are those of the tracked branch's newest run."""

    state_version: int
    tracked_position: int
    tracked_sha: str


def read_now(stack: Stack) -> Now:
    return Now(_state_version(stack), *_newest_tracked(stack))


def basis_now(stack: Stack) -> dict[str, int]:
    """Return the fields of a run that store what it is planned from now."""
    now = read_now(stack)
    return {"state_version": now.state_version, "tracked_position": now.tracked_position}


def moved_since(run: Run, now: Now | None = None) -> str:
    """Say what moved since a run was planned, like “main moved”; empty if its plan holds.

    A plan holds if it is unknown what it was made from. A move of the tracked branch counts
    if it was a tracked run's: any other did not concern the stack. `now` is what there is for
    its stack, where that was read already.
    """
    if run.state_version is None:
        return ""
    now = now or read_now(run.stack)
    if run.state_version != now.state_version:
        return "the state changed"
    is_newer = now.tracked_position > (run.tracked_position or 0)
    if run.kind == Kind.PROPOSED and is_newer and now.tracked_sha != run.merged_with:
        return f"{run.stack.branch} moved"
    return "its pull request became ready to merge" if run.lacks_merge else ""


def why_state_refuses(run: Run) -> str:
    """Say why a tracked run's plan may not be applied any more; empty if it may."""
    if run.state_version is None or run.state_version == (now := _state_version(run.stack)):
        return ""
    return (
        f"The state changed since this plan was made ({_version(run.state_version)}, now "
        f"{_version(now)})."
    )


def describe_basis(run: Run) -> str:
    """Return what a run was planned from, like “main at 1a2b3c4d, state version 3”."""
    parts = [f"{run.stack.branch} at {run.tracked_sha[:8]}"] if run.tracked_sha else []
    if run.state_version:
        parts.append(f"state version {run.state_version}")
    return ", ".join(parts)


def _version(number: int) -> str:
    return f"version {number}" if number else "no state"


def _state_version(stack: Stack) -> int:
    return stack.state_versions.values_list("number", flat=True).first() or 0


def _newest_tracked(stack: Stack) -> tuple[int, str]:
    """Return the push and the commit of the newest code that was to be run on the branch."""
    tracked = stack.runs.filter(
        kind=Kind.TRACKED, repository_id=stack.repository_id, branch=stack.branch[:500]
    )
    for run in (
        tracked.of_code().exclude(position=None).order_by("-position").only("position", "sha")[:1]
    ):
        return run.position or 0, run.sha
    return 0, ""
