"""What people are on a stack: their own role, or a higher one that a team of theirs has there."""

from django.urls import ResolverMatch

from accounts.models import User
from accounts.roles import Role, role_of
from stacks.models import Stack, TeamRole

# What the page on which a stack gets another repository asks for while somebody types.
OPTIONS = {"repository_options", "branch_options"}


def role_on(person: User, stack: Stack) -> Role | None:
    """Return what a person is on a stack; nobody without a role of their own is anything."""
    role = role_of(person)
    if role is None or role.includes(Role.APPROVER):  # no team has a higher one
        return role
    by_teams = TeamRole.objects.filter(stack=stack, team__people=person)
    return _highest({role, *by_teams.values_list("role", flat=True)})


def role_at(person: User, match: ResolverMatch) -> Role | None:
    """Return the highest role that teams give a person on the stack that an address is about.

    `stacks.apps` registers it with `accounts.roles`.
    """
    if match.namespace != "stacks":
        return None
    by_teams = TeamRole.objects.filter(team__people=person)
    if "slug" in match.kwargs:
        by_teams = by_teams.filter(stack__slug=match.kwargs["slug"])
    elif match.url_name not in OPTIONS:
        return None
    return _highest(set(by_teams.values_list("role", flat=True)))


def _highest(names: set[str]) -> Role | None:
    return next((role for role in Role if role in names), None)
