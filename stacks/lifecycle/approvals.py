"""Who may confirm a run, and which approvals of its plan count."""

from collections.abc import Sequence

from accounts.models import User
from accounts.roles import Role
from stacks.lifecycle.team_roles import role_on
from stacks.models import Approval, Confirmers, Run, plan_digest_of
from stacks.rules.states import State


def counting_approvals(run: Run) -> list[Approval]:
    """Return the approvals of the plan of a run that waits, the oldest first.

    That of somebody who may not confirm the run any more does not count. Where one person is
    enough, there are none before the run is confirmed.
    """
    if run.state != State.UNCONFIRMED or run.stack.approvals_needed == 1:
        return []
    of_plan = run.approvals.filter(digest=plan_digest_of(run)).select_related("person")
    found = of_plan.prefetch_related("person__groups")
    return [one for one in found if not _refuses(run, one.person)]


def missing_after(run: Run, person: User, approvals: Sequence[Approval]) -> int:
    """Return how many more people have to approve the plan of a run once a person has."""
    approved = {one.person_id for one in approvals} | {person.pk}
    return max(0, run.stack.approvals_needed - len(approved))


def refuses_person(run: Run, person: User, approvals: Sequence[Approval]) -> str:
    """Say why a person can't approve the plan of a run; empty if they can."""
    if reason := _refuses(run, person):
        return reason
    has_approved = any(one.person_id == person.pk for one in approvals)
    if has_approved and missing_after(run, person, approvals):
        return "You have approved this plan. It is applied once somebody else has, too."
    return ""


def names_of(person: User) -> set[str]:
    """Return the names by which a person is recognized among those of a commit's author."""
    return {name.casefold() for name in (person.get_username(), person.email) if name}


def _refuses(run: Run, person: User) -> str:
    """Say why a person may not confirm a run, whatever they did so far; empty if they may."""
    role = role_on(person, run.stack)
    if role is None or not role.includes(Role(run.stack.confirmers)):
        who = Confirmers(run.stack.confirmers).label
        return f"Runs of this stack are confirmed by {who.lower()} only. Ask one of them."
    return _refuses_author(run, person) if run.stack.excludes_author else ""


def _refuses_author(run: Run, person: User) -> str:
    """Say why a person may not confirm a run as it may be of their own code; empty if they may."""
    if not run.written_by or not run.pushed_by:
        return (
            f"{run.repository.integration.provider.name} does not say who wrote and pushed commit "
            f"{run.sha[:8]}, so nobody may confirm this run. Push another commit, or ask an admin "
            f"to change who confirms runs of this stack."
        )
    if not person.email:
        return (
            "Whoever wrote the commit can't confirm its run, and your account has no e-mail "
            "address to compare. Ask an admin to enter it under People."
        )
    authors = {name.casefold() for name in (*run.written_by, run.pushed_by)}
    if authors & names_of(person):
        return "You wrote or pushed this commit, or triggered the run. Somebody else confirms it."
    return ""
