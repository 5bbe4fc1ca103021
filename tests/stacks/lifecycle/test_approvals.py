"""Who confirms a run: which roles, how many people, and whether the author of its code."""

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from accounts.audit.records import Verb, entries
from accounts.forms import give_role
from accounts.models import User
from accounts.roles import Role
from stacks.lifecycle.actions import Action, NotPossible, act
from stacks.lifecycle.triggering import head_of, trigger
from stacks.models import Approval, PlanFile, Run, Stack, TeamRole
from stacks.rules.states import Kind, Origin, State
from tests.addresses import World, make_world, routes
from tests.builders import make_run, make_stack
from tests.conftest import make_person, make_team, signed_in
from tests.databases import Database
from tests.emulator.model import Repository
from tests.postgresql import PostgreSQL, needs_postgresql
from tests.stacks.reports.sender import look
from vcs_integrations.models import Integration

PAGE = "/stacks/network/runs/1/"
ONE_TO_ADD = {"added": 1, "changed": 0, "destroyed": 0}
APPROVE = "Approve: 1 add, 0 change, 0 destroy"
APPLY = "Apply: 1 add, 0 change, 0 destroy"
DIGEST = sha256(b"the plan").hexdigest()
BOB = {"written_by": ["Bob@Fabrikam.example"], "pushed_by": "ann"}


@pytest.fixture
def run(stack: Stack) -> Run:
    """A run whose plan waits."""
    run = make_run(stack, 1, state=State.UNCONFIRMED, **ONE_TO_ADD)
    PlanFile.objects.create(run=run, content=b"the plan", digest=DIGEST)
    return run


def wants(stack: Stack, **rules: Any) -> None:
    Stack.objects.filter(pk=stack.pk).update(**rules)
    stack.refresh_from_db()


def confirm(client: Client, plan: str = DIGEST) -> str:
    """Press the button; return what the page then says."""
    form = {"action": "confirm", "plan": plan}
    return text(client.post(f"{PAGE}act/", form, follow=True))


def text(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def state_of(run: Run) -> str:
    return Run.objects.get(pk=run.pk).state


def button(client: Client) -> tuple[str, str]:
    """Return the label of the button that confirms, and why it can't be pressed."""
    page = text(client.get(PAGE))
    if found := re.search(r'name="action" value="confirm">([^<]+)</button>', page):
        return found[1], ""
    found = re.search(r'disabled aria-describedby="why-not-confirm">([^<]+)</button>', page)
    reason = re.search(r'id="why-not-confirm"><strong>[^<]+</strong> ([^<]+)</p>', page)
    assert found and reason
    return found[1], reason[1].replace("&#x27;", "'")


# Roles


def test_only_approvers_and_admins_confirm_where_a_stack_asks_for_them(
    member: Client, approver: Client, stack: Stack, run: Run
) -> None:
    assert button(member) == (APPLY, "")
    wants(stack, confirmers="approver")
    reason = "Runs of this stack are confirmed by approvers and admins only. Ask one of them."
    assert button(member) == (APPLY, reason)
    assert f"Nothing was done. {reason}" in confirm(member)
    assert state_of(run) == State.UNCONFIRMED and not run.approvals.exists()
    assert 'name="action" value="discard">' in text(member.get(PAGE))
    assert button(approver) == (APPLY, "")
    assert "Run 1 was confirmed" in confirm(approver)
    assert state_of(run) == State.CONFIRMED


def test_an_admin_confirms_what_approvers_may(admin: Client, stack: Stack, run: Run) -> None:
    wants(stack, confirmers="approver")
    confirm(admin)
    assert state_of(run) == State.CONFIRMED


def test_an_approver_by_a_team_confirms_on_its_stack_alone(
    member: Client, bob: User, vera: User, stack: Stack, run: Run
) -> None:
    wants(stack, confirmers="approver")
    other = make_stack(stack.repository, "Other")
    role = TeamRole.objects.create(stack=other, team=make_team("Ops", bob, vera), role="approver")
    for client in (member, signed_in(vera)):
        client.post(f"{PAGE}act/", {"action": "confirm", "plan": DIGEST})
        assert state_of(run) == State.UNCONFIRMED
    TeamRole.objects.filter(pk=role.pk).update(stack=stack)
    for client in (member, signed_in(vera)):
        assert button(client) == (APPLY, "")
        confirm(client)
        assert state_of(run) == State.CONFIRMED
        Run.objects.update(state=State.UNCONFIRMED)
    TeamRole.objects.update(role="member")
    assert button(member)[1].startswith("Runs of this stack are confirmed by approvers")


def test_an_approval_ends_with_the_role_that_a_team_had(
    member: Client, admin: Client, bob: User, stack: Stack, run: Run
) -> None:
    wants(stack, confirmers="approver", approvals_needed=2)
    role = TeamRole.objects.create(stack=stack, team=make_team("Ops", bob), role="approver")
    confirm(member)
    assert button(admin) == (APPLY, "")
    role.delete()
    assert button(admin) == (APPROVE, "")


# Several people


def test_the_last_of_several_approvals_confirms_and_each_is_recorded(
    member: Client, admin: Client, stack: Stack, run: Run
) -> None:
    wants(stack, approvals_needed=2)
    assert button(member) == (APPROVE, "")
    assert ">0 of 2 approvals, since <" in text(member.get(PAGE))
    page = confirm(member)
    assert "Run 1 was approved" in page
    assert ">1 of 2 approvals, since <" in page
    assert "<dt>Approvals</dt><dd><p>1 of 2</p><p>bob <span" in page
    assert state_of(run) == State.UNCONFIRMED
    once = "You have approved this plan. It is applied once somebody else has, too."
    assert button(member) == (APPROVE, once)
    assert f"Nothing was done. {once}" in confirm(member)
    assert button(admin) == (APPLY, "")
    page = confirm(admin)
    assert "Run 1 was confirmed" in page
    assert "<strong>Approved</strong> by bob, " in page
    assert "<strong>Confirmed</strong> by alice, " in page
    assert state_of(run) == State.CONFIRMED
    recorded = entries().filter(verb__startswith="run_").order_by("pk")
    assert [(one.verb, one.person, one.note) for one in recorded] == [
        (Verb.RUN_APPROVED, "bob", f"Plan {DIGEST[:12]}."),
        (Verb.RUN_CONFIRMED, "alice", f"Plan {DIGEST[:12]}."),
    ]


def test_three_approvals_take_three_people(
    member: Client, approver: Client, admin: Client, stack: Stack, run: Run
) -> None:
    wants(stack, approvals_needed=3)
    for client in (member, member, approver, approver):
        confirm(client)
        assert state_of(run) == State.UNCONFIRMED
    assert run.approvals.count() == 2
    confirm(admin)
    assert state_of(run) == State.CONFIRMED


def test_a_person_approves_a_run_once(bob: User, run: Run) -> None:
    Approval.objects.create(run=run, person=bob, digest=DIGEST)
    with pytest.raises(IntegrityError), transaction.atomic():
        Approval.objects.create(run=run, person=bob, digest="another")


@pytest.mark.parametrize("how", ["demoted", "without role", "deactivated", "removed"])
def test_an_approval_of_somebody_who_may_no_longer_confirm_does_not_count(
    approver: Client, admin: Client, dora: User, stack: Stack, run: Run, how: str
) -> None:
    wants(stack, approvals_needed=2, confirmers="approver")
    confirm(approver)
    assert button(admin) == (APPLY, "")
    match how:
        case "demoted":
            give_role(dora, Role.MEMBER)
        case "without role":
            give_role(dora, "")
        case "deactivated":
            User.objects.filter(pk=dora.pk).update(is_active=False)
        case "removed":
            dora.delete()
    assert button(admin) == (APPROVE, "")
    page = confirm(admin)
    assert "Run 1 was approved" in page
    assert "1 of 2 approvals" in page
    assert "<strong>Approved</strong> by dora, " in page
    assert state_of(run) == State.UNCONFIRMED


def test_an_approval_is_of_exactly_the_plan_that_was_shown(
    member: Client, admin: Client, stack: Stack, run: Run
) -> None:
    wants(stack, approvals_needed=2)
    for seen in ("", DIGEST[:12], sha256(b"another").hexdigest()):
        assert "The plan is not the one that was shown." in confirm(member, seen)
    assert not run.approvals.exists()
    confirm(member)
    assert run.approvals.get().digest == DIGEST
    other = sha256(b"another plan").hexdigest()
    PlanFile.objects.filter(run=run).update(digest=other)
    assert button(admin) == (APPROVE, "")
    confirm(admin, other)
    assert state_of(run) == State.UNCONFIRMED
    assert button(member) == (APPLY, "")  # of the other plan, which somebody else approved
    confirm(member, other)
    assert state_of(run) == State.CONFIRMED


def test_a_retry_needs_approvals_of_its_own(
    member: Client, admin: Client, bob: User, stack: Stack, run: Run
) -> None:
    wants(stack, approvals_needed=2)
    confirm(member)
    act(run, Action.DISCARD, bob, "")
    again = act(run, Action.RETRY, bob, "")
    Run.objects.filter(pk=again.pk).update(state=State.UNCONFIRMED, **ONE_TO_ADD)
    admin.post(f"{again.get_absolute_url()}act/", {"action": "confirm"})
    assert state_of(again) == State.UNCONFIRMED
    assert again.approvals.count() == 1


def test_nobody_approves_what_somebody_else_has_just_ended(
    alice: User, bob: User, stack: Stack, run: Run
) -> None:
    wants(stack, approvals_needed=2)
    same = Run.objects.get(pk=run.pk)
    act(run, Action.DISCARD, bob, "")
    with pytest.raises(NotPossible, match="Run 1 was discarded"):
        act(same, Action.CONFIRM, alice, "")
    assert not run.approvals.exists()
    assert [one.action for one in run.actions.all()] == ["discard"]


def test_where_fewer_are_needed_by_now_who_approved_may_apply(
    member: Client, stack: Stack, run: Run
) -> None:
    wants(stack, approvals_needed=2)
    confirm(member)
    wants(stack, approvals_needed=1)
    assert button(member) == (APPLY, "")
    confirm(member)
    assert state_of(run) == State.CONFIRMED


def test_a_plan_that_destroys_is_approved_only_by_who_is_asked_once_more(
    member: Client, admin: Client, stack: Stack, run: Run
) -> None:
    wants(stack, approvals_needed=2)
    Run.objects.update(destroyed=1)
    ask = f"{PAGE}confirm/?plan={DIGEST}"
    assert f'href="{ask}">Approve: 1 add, 0 change, 1 destroy</a>' in text(member.get(PAGE))
    page = confirm(member)
    assert "<h1>Approve this plan?</h1>" in page and not run.approvals.exists()
    sure = {"action": "confirm", "plan": DIGEST, "sure": "yes"}
    assert "Run 1 was approved" in text(member.post(f"{PAGE}act/", sure, follow=True))
    page = text(member.get(ask))
    assert "You have approved this plan." in page and "disabled>Approve: 1 add" in page
    assert "<h1>Apply this plan?</h1>" in text(admin.get(ask))


def test_a_live_page_shows_an_approval_of_somebody_else(
    member: Client, admin: Client, stack: Stack, run: Run
) -> None:
    wants(stack, approvals_needed=2)
    version = re.search(r"\?version=(\w+)", text(admin.get(PAGE)))
    assert version
    live = {"HX-Request": "true"}
    assert admin.get(f"{PAGE}?version={version[1]}", headers=live).status_code == 204
    confirm(member)
    part = text(admin.get(f"{PAGE}?version={version[1]}", headers=live))
    assert APPLY in part and "1 of 2 approvals" in part


# The author


def author_rule(stack: Stack, person: User, email: str, **run: Any) -> None:
    wants(stack, excludes_author=True)
    User.objects.filter(pk=person.pk).update(email=email)
    stack.runs.update(**run)


YOU = "You wrote or pushed this commit, or triggered the run. Somebody else confirms it."


@pytest.mark.parametrize(
    ("email", "run_of"),
    [
        ("bob@fabrikam.example", BOB),
        ("BOB@FABRIKAM.EXAMPLE", BOB),
        ("b@x", {"written_by": ["ann@x", "bob@x", "b@X"], "pushed_by": "ann"}),
        ("b@x", {"written_by": ["ann@x"], "pushed_by": "B@X"}),
        ("b@x", {"written_by": ["ann@x"], "pushed_by": "BOB"}),
    ],
)
def test_whoever_wrote_or_pushed_the_commit_does_not_confirm_its_run(
    member: Client, bob: User, stack: Stack, run: Run, email: str, run_of: dict[str, Any]
) -> None:
    author_rule(stack, bob, email, **run_of)
    assert button(member) == (APPLY, YOU)
    assert f"Nothing was done. {YOU}" in confirm(member)
    assert state_of(run) == State.UNCONFIRMED


def test_an_admin_who_wrote_the_commit_does_not_confirm_its_run_either(
    admin: Client, alice: User, stack: Stack, run: Run
) -> None:
    author_rule(stack, alice, "bob@fabrikam.example", **BOB)
    confirm(admin)
    assert state_of(run) == State.UNCONFIRMED


def test_somebody_else_confirms(member: Client, bob: User, stack: Stack, run: Run) -> None:
    author_rule(stack, bob, "bob@elsewhere.example", **BOB)
    assert button(member) == (APPLY, "")
    confirm(member)
    assert state_of(run) == State.CONFIRMED


def test_without_an_address_nobody_can_be_compared(
    member: Client, bob: User, stack: Stack, run: Run
) -> None:
    author_rule(stack, bob, "", **BOB)
    reason = "your account has no e-mail address to compare. Ask an admin to enter it"
    assert reason in button(member)[1]
    confirm(member)
    assert state_of(run) == State.UNCONFIRMED


@pytest.mark.parametrize(
    "run_of",
    [{}, {"written_by": ["ann@x"], "pushed_by": ""}, {"written_by": [], "pushed_by": "ann@x"}],
)
def test_of_a_commit_of_an_unknown_author_nobody_confirms_the_run(
    admin: Client, alice: User, stack: Stack, run: Run, run_of: dict[str, Any]
) -> None:
    author_rule(stack, alice, "alice@fabrikam.example", **run_of)
    unknown = f"Azure DevOps does not say who wrote and pushed commit {run.sha[:8]}"
    assert button(admin)[1].startswith(unknown)
    confirm(admin)
    assert state_of(run) == State.UNCONFIRMED


def test_an_approval_of_the_author_from_before_the_rule_does_not_count(
    member: Client, admin: Client, alice: User, bob: User, stack: Stack, run: Run
) -> None:
    wants(stack, approvals_needed=2)
    confirm(member)
    User.objects.filter(pk=alice.pk).update(email="alice@fabrikam.example")
    author_rule(stack, bob, "bob@fabrikam.example", **BOB)
    confirm(admin)
    assert state_of(run) == State.UNCONFIRMED


def test_the_author_is_who_the_provider_says(stack: Stack, repository: Repository) -> None:
    look(stack)
    repository.push({"main.tf": "# 1\n"}, author="Bo Builder <bo@fabrikam.example>")
    look(stack)
    run = stack.runs.get(kind=Kind.TRACKED)
    assert (run.written_by, run.pushed_by) == (["bo@fabrikam.example"], "bo@fabrikam.example")


def test_whoever_triggers_a_run_is_one_of_its_authors(
    stack: Stack, repository: Repository, bob: User, alice: User
) -> None:
    look(stack)
    repository.push({"main.tf": "# 1\n"}, author="Bo Builder <bo@fabrikam.example>")
    look(stack)
    stack.refresh_from_db()
    stack.runs.update(state=State.FINISHED)
    wants(stack, excludes_author=True)
    for person in (alice, bob):
        User.objects.filter(pk=person.pk).update(email=f"{person.username}@fabrikam.example")
        person.refresh_from_db()
    run = trigger(stack, Kind.TRACKED, head_of(stack), origin=Origin.PERSON, person=bob)
    for by in ("trigger", "retry"):
        Run.objects.filter(pk=run.pk).update(state=State.UNCONFIRMED)
        run.refresh_from_db()
        with pytest.raises(NotPossible, match="or triggered the run"):
            act(run, Action.CONFIRM, bob, "")
        if by == "trigger":
            Run.objects.filter(pk=run.pk).update(state=State.FAILED)
            run.refresh_from_db()
            run = act(run, Action.RETRY, alice, "")
    # Who only retries a run chooses nothing about it.
    assert act(run, Action.CONFIRM, alice, "").state == State.CONFIRMED


def test_whoever_triggers_a_run_does_not_make_up_for_an_unknown_author(
    stack: Stack, bob: User
) -> None:
    Stack.objects.update(head_sha="a" * 40, head_position=1)
    stack.refresh_from_db()
    run = trigger(stack, Kind.TRACKED, head_of(stack), origin=Origin.PERSON, person=bob)
    assert run.written_by == []


# No other way


@pytest.mark.parametrize("rules", [{"approvals_needed": 2}, {"confirmers": "approver"}])
def test_no_address_confirms_a_run_in_any_other_way(
    integration: Integration, bob: User, rules: dict[str, Any]
) -> None:
    world: World = make_world(integration)
    wants(world.stack, **rules)
    Run.objects.filter(pk=world.run.pk).update(state=State.UNCONFIRMED, **ONE_TO_ADD)
    member = signed_in(bob)
    form = {"sure": "yes", "autodeploy": "on", "approvals_needed": "1", "confirmers": "member"}
    for route in routes():
        with transaction.atomic():
            for action in ("confirm", "approve", "retry"):
                member.post(world.path(route), form | {"action": action})
            member.get(world.path(route))
            world.stack.refresh_from_db()
            assert state_of(world.run) == State.UNCONFIRMED, route
            assert not world.stack.autodeploy and world.stack.restricts_confirmation, route
            transaction.set_rollback(True)


# At once, on PostgreSQL

AT_ONCE = """
import json, sys
from threading import Event, Thread
from django.db import connection, transaction
from accounts.roles import Role
from stacks.lifecycle.actions import Action, NotPossible, act
from stacks.models import Run
from stacks.rules.states import State
from tests.builders import make_repository, make_run, make_stack, store_integration
from tests.conftest import make_person

stack = make_stack(make_repository(store_integration(token="a token"), "r"), approvals_needed=2)
make_run(stack, 1, state=State.UNCONFIRMED)
people = [make_person(name, Role.MEMBER) for name in ("ann", "bob", "cay")]
is_approved, may_end = Event(), Event()
refused = []

def approve_first():
    with transaction.atomic():
        act(Run.objects.get(), Action.CONFIRM, people[0], "")
        is_approved.set()
        may_end.wait()
    connection.close()

def approve(person):
    try:
        with transaction.atomic():
            act(Run.objects.get(), Action.CONFIRM, person, "")
    except NotPossible as error:
        refused.append(str(error))
    connection.close()

first = Thread(target=approve_first)
others = [Thread(target=approve, args=[person]) for person in people[1:]]
first.start()
is_approved.wait()
for one in others:
    one.start()
with connection.cursor() as cursor:
    waiting = 0
    while waiting < 2 and any(one.is_alive() for one in others):
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        waiting = cursor.fetchone()[0]
may_end.set()
for one in (first, *others):
    one.join()
run = Run.objects.get()
done = sorted(run.actions.values_list("action", flat=True))
json.dump([run.state, done, refused], sys.stdout)
"""


@pytest.fixture
def on_postgresql(server: PostgreSQL) -> Iterator[Database]:
    yield Database(server.create("approvals"))
    server.drop("approvals")


@needs_postgresql
def test_of_several_who_approve_at_once_one_confirms(on_postgresql: Database) -> None:
    state, done, refused = json.loads(on_postgresql.run(AT_ONCE))
    assert (state, done) == (State.CONFIRMED, ["approve", "confirm"])
    assert refused == ["Run 1 is confirmed, so that is not possible any more."]


def test_a_viewer_never_approves(stack: Stack, run: Run) -> None:
    with pytest.raises(NotPossible, match="confirmed by members, approvers and admins only"):
        act(run, Action.CONFIRM, make_person("vincent", Role.VIEWER), "")
