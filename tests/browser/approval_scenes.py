"""The pages on which people approve plans, and choose who does; and teams."""

from datetime import timedelta

from django.utils import timezone
from playwright.sync_api import expect

from accounts.models import Team, User
from accounts.roles import Role
from stacks.models import Approval, Run, RunAction, Stack, TeamRole
from stacks.rules.states import State
from tests.browser.scene import LONG_NAME, Scene, state
from tests.conftest import make_person, make_team

RULES = {"confirmers": "approver", "approvals_needed": 3, "excludes_author": True}
COUNTS = {"added": 2, "changed": 1, "destroyed": 0}


def _waiting_run(scene: Scene) -> Run:
    """A run that two people have approved, one of them with a long name."""
    run: Run = scene.busy_stack().runs.get(state=State.UNCONFIRMED)
    Stack.objects.update(**RULES)
    who = {"written_by": ["ann@fabrikam.example"], "pushed_by": "ann@fabrikam.example"}
    Run.objects.filter(pk=run.pk).update(**COUNTS, **who)
    for name in ("dora", LONG_NAME):
        person = make_person(name, Role.APPROVER)
        person.email = f"{name[:20]}@fabrikam.example"
        person.save()
        at = timezone.now() - timedelta(minutes=3)
        Approval.objects.create(run=run, person=person, at=at)
        RunAction.objects.create(run=run, action="approve", person=person, username=name, at=at)
    return run


@state("confirmation")
def _confirmation(scene: Scene) -> None:
    Stack.objects.filter(pk=(stack := scene.stack()).pk).update(**RULES)
    scene.admin(f"{stack.get_absolute_url()}confirmation/")


@state("confirmation, with errors")
def _confirmation_with_errors(scene: Scene) -> None:
    Stack.objects.filter(pk=(stack := scene.stack()).pk).update(autodeploy=True)
    scene.admin(f"{stack.get_absolute_url()}confirmation/")
    scene.page.get_by_label("Who confirms runs").select_option("approver")
    scene.page.get_by_label("Number of approvals").select_option("2")
    scene.page.get_by_label("Whoever wrote the commit").check()
    scene.press("Save")
    expect(scene.page.get_by_text("This stack has autodeploy")).to_have_count(3)


@state("confirmation, for a member")
def _confirmation_for_a_member(scene: Scene) -> None:
    scene.member(f"{scene.stack().get_absolute_url()}confirmation/")


@state("behavior, with autodeploy that approvals contradict")
def _autodeploy_refused(scene: Scene) -> None:
    Stack.objects.filter(pk=(stack := scene.stack()).pk).update(**RULES)
    scene.member(f"{stack.get_absolute_url()}behavior/")
    scene.page.get_by_label("Autodeploy").check()
    scene.press("Save")
    expect(scene.page.get_by_text("Autodeploy applies plans")).to_be_visible()


@state("stack, with approvals")
def _stack_with_approvals(scene: Scene) -> None:
    stack = scene.busy_stack()
    Stack.objects.update(**RULES)
    scene.member(stack.get_absolute_url())


@state("run, with approvals")
def _run_with_approvals(scene: Scene) -> None:
    run = _waiting_run(scene)
    alice = scene.fixture("alice", User)
    User.objects.filter(pk=alice.pk).update(email="alice@fabrikam.example")
    scene.admin(run.get_absolute_url())
    expect(scene.page.get_by_text("2 of 3 approvals")).to_be_visible()


@state("run, that a member may not confirm")
def _run_of_approvers(scene: Scene) -> None:
    run = _waiting_run(scene)
    scene.member(run.get_absolute_url())
    expect(scene.page.get_by_role("button", name="Apply: 2 add")).to_be_disabled()


@state("run, asked once more to approve")
def _asked_to_approve(scene: Scene) -> None:
    run = _waiting_run(scene)
    Stack.objects.update(confirmers="member", excludes_author=False)
    Run.objects.filter(pk=run.pk).update(destroyed=1)
    Approval.objects.filter(person__username=LONG_NAME).delete()
    scene.member(run.get_absolute_url())
    scene.page.get_by_role("link", name="Approve: ").click()
    expect(scene.page.get_by_role("heading", name="Approve this plan?")).to_be_visible()


def _team(scene: Scene, name: str) -> Team:
    return make_team(name, scene.fixture("bob", User), scene.fixture("vera", User))


@state("teams")
def _teams(scene: Scene) -> None:
    _team(scene, "Ops")
    make_team(LONG_NAME)
    scene.admin("/settings/people/teams/")


@state("teams, none yet")
def _no_teams(scene: Scene) -> None:
    scene.admin("/settings/people/teams/")


@state("team, with errors")
def _team_with_errors(scene: Scene) -> None:
    _team(scene, "Ops")
    scene.admin("/settings/people/teams/new/")
    scene.page.get_by_label("Name").fill("Ops")
    scene.page.get_by_label("People").fill(f"bob\n{LONG_NAME}")
    scene.press("Create team")
    expect(scene.page.get_by_text("There is nobody called")).to_be_visible()


@state("delete team")
def _delete_team(scene: Scene) -> None:
    scene.admin(f"/settings/people/teams/{_team(scene, LONG_NAME).pk}/delete/")


@state("confirmation, with teams and errors")
def _confirmation_with_teams(scene: Scene) -> None:
    stack = scene.stack()
    TeamRole.objects.create(stack=stack, team=_team(scene, LONG_NAME), role="member")
    scene.admin(f"{stack.get_absolute_url()}confirmation/")
    scene.page.get_by_label("Teams of approvers").fill(LONG_NAME)
    scene.press("Save")
    expect(scene.page.get_by_text("choose one role for each team")).to_be_visible()


@state("stack, for a viewer whose team are members")
def _stack_of_a_team(scene: Scene) -> None:
    stack = scene.busy_stack()
    TeamRole.objects.create(stack=stack, team=_team(scene, "Ops"), role="member")
    scene.viewer(stack.get_absolute_url())
    expect(scene.page.get_by_role("link", name="Trigger run")).to_be_visible()


@state("source, for a viewer whose team are members")
def _source_of_a_team(scene: Scene) -> None:
    stack = scene.stack()
    TeamRole.objects.create(stack=stack, team=_team(scene, "Ops"), role="member")
    scene.viewer(f"{stack.get_absolute_url()}source/")
    scene.page.get_by_label("Repository").fill("infra")
    expect(scene.page.get_by_role("listbox", name="Matches")).to_be_visible()
