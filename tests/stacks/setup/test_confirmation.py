"""Who confirms the runs of a stack: admins choose, and nobody gets around it."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from accounts.audit.records import Verb, entries
from stacks.environment.copying import copying_of
from stacks.models import Stack, TeamRole
from stacks.setup.cloning import Clone
from tests.conftest import make_team
from tests.stacks.conftest import CHECKED, errors
from vcs_integrations.models import Integration

PAGE = "/stacks/network/confirmation/"
BEHAVIOR = "/stacks/network/behavior/"
DEFAULT = {"confirmers": "member", "approvals_needed": 1, "excludes_author": False}
CHOSEN = {"confirmers": "approver", "approvals_needed": "2", "excludes_author": "on"}


def rules(stack: Stack) -> dict[str, Any]:
    return dict(Stack.objects.values(*DEFAULT).get(pk=stack.pk))


def send(client: Client, **changes: str) -> Any:
    return client.post(PAGE, {"confirmers": "member", "approvals_needed": "1"} | changes)


def test_an_admin_chooses_and_the_stack_and_the_audit_log_say_so(
    admin: Client, member: Client, stack: Stack
) -> None:
    assert rules(stack) == DEFAULT
    page = member.get("/stacks/network/").content.decode()
    assert "1 approval: members, approvers and admins. <a" in page
    answer = send(admin, **CHOSEN)
    assert (answer.status_code, answer["Location"]) == (302, stack.get_absolute_url())
    assert rules(stack) == {
        "confirmers": "approver",
        "approvals_needed": 2,
        "excludes_author": True,
    }
    text = "2 approvals: approvers and admins, but not whoever wrote the commit"
    entry = entries().get(verb=Verb.STACK_CHANGED)
    assert (entry.note, entry.thing) == (f"Confirmation: {text}", "Network")
    assert f"{text}. <a" in member.get("/stacks/network/").content.decode()
    assert send(admin).status_code == 302
    assert rules(stack) == DEFAULT


def test_a_member_reads_it_and_changes_nothing(admin: Client, member: Client, stack: Stack) -> None:
    send(admin, **CHOSEN)
    before = rules(stack)
    page = member.get(PAGE).content.decode()
    assert "Only an admin of Stackhook can change this." in page
    assert ">Save</button>" not in page
    assert page.count(" disabled") >= 3
    assert send(member).status_code == 403
    for path in ("edit/", "behavior/", "backend/", "arguments/", "source/"):
        member.post(f"/stacks/network/{path}", CHECKED | DEFAULT | {"name": "Network"})
    assert rules(stack) == before


@pytest.mark.parametrize("number", ["0", "4", "-1", "two", ""])
def test_one_to_three_people_approve(admin: Client, stack: Stack, number: str) -> None:
    assert errors(send(admin, approvals_needed=number), "approvals_needed")
    assert rules(stack) == DEFAULT


@pytest.mark.parametrize(
    "broken", [{"approvals_needed": 0}, {"approvals_needed": 4}, {"confirmers": "all"}]
)
def test_the_database_holds_nothing_else(stack: Stack, broken: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Stack.objects.update(**broken)


@pytest.mark.parametrize(("field", "value"), CHOSEN.items())
def test_autodeploy_and_approvals_contradict_each_other(
    admin: Client, stack: Stack, field: str, value: str
) -> None:
    Stack.objects.update(autodeploy=True)
    answer = send(admin, **{field: value})
    assert errors(answer, field).startswith("This stack has autodeploy")
    assert rules(stack) == DEFAULT
    assert send(admin).status_code == 302
    with pytest.raises(IntegrityError), transaction.atomic():
        Stack.objects.update(**{field: True if value == "on" else value})


def test_nobody_switches_on_autodeploy_around_it(
    admin: Client, member: Client, stack: Stack
) -> None:
    send(admin, approvals_needed="2")
    for client in (member, admin):
        answer = client.post(BEHAVIOR, CHECKED | {"autodeploy": "on"})
        said = errors(answer, "autodeploy")
        assert said.startswith("Autodeploy applies plans that nobody has confirmed")
        assert said.endswith(": 2 approvals: members, approvers and admins.")
    stack.refresh_from_db()
    assert not stack.autodeploy
    assert member.post(BEHAVIOR, CHECKED).status_code == 302


def test_an_admin_gives_teams_a_role_and_takes_it_back(
    admin: Client, member: Client, stack: Stack
) -> None:
    for name in ("Ops", "Web", "Data"):
        make_team(name)
    send(admin, member_teams="Web\n\n Data ", approver_teams="Ops")
    assert stack.teams_text == "Data: Member, Ops: Approver, Web: Member"
    assert f"Teams: {stack.teams_text}." in member.get("/stacks/network/").content.decode()
    assert "Data\nWeb</textarea>" in admin.get(PAGE).content.decode()
    send(admin, member_teams="Ops")
    assert stack.teams_text == "Ops: Member"
    send(admin)
    assert stack.teams_text == ""


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"member_teams": "Ops\nops"}, "member_teams", "There is no team “ops”."),
        (
            {"member_teams": "Ops", "approver_teams": "Ops"},
            "approver_teams",
            "Ops: choose one role for each team.",
        ),
    ],
)
def test_what_is_no_team_or_has_two_roles_is_refused(
    admin: Client, stack: Stack, typed: dict[str, str], field: str, said: str
) -> None:
    make_team("Ops")
    assert errors(send(admin, **typed), field).startswith(said)
    assert stack.teams_text == ""


def test_a_team_has_one_role_on_a_stack_and_none_of_an_admin(stack: Stack) -> None:
    team = make_team("Ops")
    with pytest.raises(IntegrityError), transaction.atomic():
        TeamRole.objects.create(stack=stack, team=team, role="admin")
    TeamRole.objects.create(stack=stack, team=team, role="member")
    with pytest.raises(IntegrityError), transaction.atomic():
        TeamRole.objects.create(stack=stack, team=team, role="approver")


def test_a_clone_says_that_it_does_not_get_it(admin: Client, stack: Stack) -> None:
    send(admin, excludes_author="on")
    stack.refresh_from_db()
    assert "who confirms runs" in Clone(stack, copying_of(stack)).left


def test_a_stack_that_follows_other_code_keeps_it(
    admin: Client, stack: Stack, world: Integration
) -> None:
    send(admin, **CHOSEN)
    before = rules(stack)
    stack.refresh_from_db()
    stack.follow(stack.repository, "feature/network")
    assert rules(stack) == before
