"""Who may do what, on every URL; the list of URLs comes from the resolver."""

import re
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from pytest_django import Settings

from accounts.audit.records import entries
from accounts.forms import give_role
from accounts.models import User
from accounts.roles import Role
from stacks.models import TeamRole
from tests.addresses import ROLES, World, clients, make_world, routes
from tests.builders import make_integration, make_stack
from tests.conftest import make_team, signed_in
from vcs_integrations.models import Integration

PAGE = "page"
DONE = "redirect"  # the action was done, or there is nothing to do here
SIGN_IN = "redirect to sign-in"
REFUSED = "403"
NO_METHOD = "405"

Row = tuple[str, str, str, str, str, str, str]
# What happens to admin, superuser, approver, member, viewer, signed-in without role, stranger
READERS: Row = (PAGE, PAGE, PAGE, PAGE, PAGE, REFUSED, SIGN_IN)
READERS_DO: Row = (DONE, DONE, DONE, DONE, DONE, REFUSED, SIGN_IN)
MEMBERS: Row = (PAGE, PAGE, PAGE, PAGE, REFUSED, REFUSED, SIGN_IN)
MEMBERS_DO: Row = (DONE, DONE, DONE, DONE, REFUSED, REFUSED, SIGN_IN)
ADMINS: Row = (PAGE, PAGE, REFUSED, REFUSED, REFUSED, REFUSED, SIGN_IN)
ADMINS_DO: Row = (DONE, DONE, REFUSED, REFUSED, REFUSED, REFUSED, SIGN_IN)
NOBODY: Row = (NO_METHOD, NO_METHOD, NO_METHOD, NO_METHOD, REFUSED, REFUSED, SIGN_IN)
SIGNED_IN: Row = (PAGE, PAGE, PAGE, PAGE, PAGE, PAGE, SIGN_IN)
SIGN_OUT: Row = (DONE, DONE, DONE, DONE, DONE, DONE, SIGN_IN)
NO_SIGN_OUT: Row = (NO_METHOD, NO_METHOD, NO_METHOD, NO_METHOD, NO_METHOD, NO_METHOD, SIGN_IN)
SIGNING_IN: Row = (DONE, DONE, DONE, DONE, DONE, DONE, PAGE)
OPEN: Row = (PAGE, PAGE, PAGE, PAGE, PAGE, PAGE, PAGE)
OPEN_NOT: Row = (NO_METHOD, NO_METHOD, NO_METHOD, NO_METHOD, NO_METHOD, NO_METHOD, NO_METHOD)
PASSWORD_NEEDED: Row = ("401", "401", "401", "401", "401", "401", "401")
PASSWORD_OR_ROLE: Row = (DONE, DONE, DONE, DONE, DONE, "401", "401")
OF_SOMEBODY_ELSE: Row = ("404", "404", "404", "404", "404", REFUSED, SIGN_IN)

VCS = "settings/vcs-providers/"
REGISTERED = "registry/v1/modules/<slug:namespace>/<slug:name>/<slug:system>/"
SHARED = "settings/environments/<int:environment_pk>/"
MODULE = "modules/<slug:namespace>/<slug:name>/<slug:system>/"
VERSION = f"{MODULE}versions/<str:version_number>/"
# Route: what GET does, what an empty POST does
EXPECTED: dict[str, tuple[Row, Row]] = {
    "": (READERS, NOBODY),
    ".well-known/terraform.json": (OPEN, OPEN_NOT),
    "account/notifications/": (READERS, READERS),
    "account/notifications/<int:subscription_pk>/remove/": (READERS_DO, OF_SOMEBODY_ELSE),
    "healthz": (OPEN, OPEN_NOT),
    "password/": (SIGNED_IN, SIGNED_IN),
    "settings/": (READERS, NOBODY),
    "settings/environments/": (READERS, NOBODY),
    "settings/environments/new/": (ADMINS, ADMINS),
    SHARED: (READERS, NOBODY),
    f"{SHARED}edit/": (ADMINS, ADMINS),
    f"{SHARED}labels/": (ADMINS, ADMINS_DO),
    f"{SHARED}delete/": (ADMINS, ADMINS_DO),
    f"{SHARED}add-variable/": (ADMINS, ADMINS),
    f"{SHARED}add-file/": (ADMINS, ADMINS),
    f"{SHARED}variables/<int:shared_pk>/": (ADMINS, ADMINS),
    f"{SHARED}variables/<int:shared_pk>/remove/": (ADMINS, ADMINS_DO),
    "settings/people/": (ADMINS, NOBODY),
    "settings/people/<int:pk>/": (ADMINS, ADMINS),
    "settings/people/<int:pk>/remove/": (ADMINS, ADMINS_DO),
    "settings/people/<int:pk>/tokens/<int:token_pk>/revoke/": (ADMINS_DO, ADMINS_DO),
    "settings/people/add/": (ADMINS, ADMINS),
    "settings/people/my-address/": (ADMINS, ADMINS),
    "settings/people/teams/": (ADMINS, NOBODY),
    "settings/people/teams/new/": (ADMINS, ADMINS),
    "settings/people/teams/<int:team_pk>/": (ADMINS, ADMINS),
    "settings/people/teams/<int:team_pk>/delete/": (ADMINS, ADMINS_DO),
    "settings/audit-log/": (ADMINS, NOBODY),
    "settings/notifications/": (ADMINS, NOBODY),
    "settings/notifications/new/": (ADMINS, ADMINS),
    "settings/notifications/<int:channel_pk>/": (ADMINS, ADMINS),
    "settings/notifications/<int:channel_pk>/delete/": (ADMINS, ADMINS_DO),
    "settings/notifications/log/": (ADMINS, NOBODY),
    "settings/notifications/log/<int:message_pk>/resend/": (ADMINS_DO, ADMINS_DO),
    VCS: (READERS, NOBODY),
    f"{VCS}<int:pk>/": (ADMINS, NOBODY),
    f"{VCS}<int:pk>/deliveries/": (ADMINS, NOBODY),
    f"{VCS}<int:pk>/notices/": (ADMINS, NOBODY),
    f"{VCS}<int:pk>/reports/": (ADMINS, NOBODY),
    f"{VCS}<int:pk>/reports/retry/": (ADMINS_DO, ADMINS_DO),
    f"{VCS}<int:pk>/deliveries/replay/": (ADMINS_DO, ADMINS_DO),
    f"{VCS}<int:pk>/deliveries/<int:delivery_pk>/": (ADMINS, NOBODY),
    f"{VCS}<int:pk>/deliveries/<int:delivery_pk>/replay/": (ADMINS_DO, ADMINS_DO),
    f"{VCS}<int:pk>/deliveries/<int:delivery_pk>/body/": (ADMINS, NOBODY),
    f"{VCS}<int:pk>/edit/": (ADMINS, ADMINS),
    f"{VCS}<int:pk>/left-over-hooks/": (ADMINS, NOBODY),
    f"{VCS}<int:pk>/reconcile/": (ADMINS_DO, ADMINS_DO),
    f"{VCS}<int:pk>/hooks/": (ADMINS_DO, NOBODY),
    f"{VCS}<int:pk>/hooks/keep/": (ADMINS_DO, ADMINS_DO),
    f"{VCS}<int:pk>/hooks/leave/": (ADMINS_DO, ADMINS_DO),
    f"{VCS}<int:pk>/hooks/read/": (ADMINS_DO, ADMINS_DO),
    f"{VCS}<int:pk>/hooks/record/": (ADMINS, NOBODY),
    f"{VCS}<int:pk>/hooks/test/": (ADMINS_DO, ADMINS_DO),
    f"{VCS}<int:pk>/hooks/test/<int:test_pk>/": (ADMINS, NOBODY),
    f"{VCS}<int:pk>/password/": (ADMINS, ADMINS_DO),
    f"{VCS}<int:pk>/password/end/": (ADMINS_DO, ADMINS_DO),
    f"{VCS}<int:pk>/reveal/": (ADMINS_DO, ADMINS),
    f"{VCS}<int:pk>/test/": (ADMINS_DO, ADMINS_DO),
    f"{VCS}<int:pk>/unlink/": (ADMINS, ADMINS_DO),
    f"{VCS}<slug:provider_slug>/set-up/": (ADMINS, ADMINS),
    "modules/": (READERS, NOBODY),
    "modules/new/": (MEMBERS, MEMBERS),
    MODULE: (READERS, NOBODY),
    f"{MODULE}versions/": (READERS, NOBODY),
    f"{MODULE}activity/": (READERS, NOBODY),
    f"{MODULE}stacks/": (READERS, NOBODY),
    f"{MODULE}pull-requests/<int:pull_number>/": (READERS, NOBODY),
    f"{MODULE}pull-requests/<int:pull_number>/plan-rest/": (READERS_DO, MEMBERS_DO),
    f"{MODULE}edit/": (MEMBERS, MEMBERS),
    f"{MODULE}delete/": (ADMINS, ADMINS_DO),
    VERSION: (READERS, NOBODY),
    f"{VERSION}yank/": (ADMINS, ADMINS),
    f"{VERSION}restore/": (ADMINS_DO, ADMINS_DO),
    "registry/archives/<str:signed>": (OPEN, OPEN_NOT),
    f"{REGISTERED}versions": (PASSWORD_NEEDED, OPEN_NOT),
    f"{REGISTERED}<str:version_number>/download": (PASSWORD_NEEDED, OPEN_NOT),
    f"{MODULE}checks/<str:sha>/": (READERS, NOBODY),
    f"{MODULE}checks/<str:sha>/again/": (READERS_DO, MEMBERS_DO),
    "runs/": (READERS, NOBODY),
    "sign-in/": (SIGNING_IN, SIGNING_IN),
    "sign-out/": (NO_SIGN_OUT, SIGN_OUT),
    "stacks/": (READERS, NOBODY),
    "stacks/<slug:slug>/": (READERS, NOBODY),
    "stacks/<slug:slug>/activity/": (READERS, NOBODY),
    "stacks/<slug:slug>/arguments/": (MEMBERS, MEMBERS_DO),
    "stacks/<slug:slug>/backend/": (MEMBERS, MEMBERS),
    "stacks/<slug:slug>/behavior/": (MEMBERS, MEMBERS_DO),
    "stacks/<slug:slug>/confirmation/": (READERS, ADMINS),
    "stacks/<slug:slug>/delete/": (ADMINS, ADMINS),
    "stacks/<slug:slug>/edit/": (MEMBERS, MEMBERS),
    "stacks/<slug:slug>/dependencies/": (READERS, NOBODY),
    "stacks/<slug:slug>/dependencies/add/": (MEMBERS, MEMBERS),
    "stacks/<slug:slug>/dependencies/<int:dependency_pk>/remove/": (READERS_DO, MEMBERS_DO),
    "stacks/<slug:slug>/dependencies/readers/add/": (ADMINS, ADMINS),
    "stacks/<slug:slug>/dependencies/readers/<int:grant_pk>/remove/": (ADMINS_DO, ADMINS_DO),
    "stacks/<slug:slug>/environment/": (READERS, MEMBERS),
    "stacks/<slug:slug>/environment/add-file/": (MEMBERS, MEMBERS),
    "stacks/<slug:slug>/environment/attach/": (ADMINS, ADMINS),
    "stacks/<slug:slug>/environment/detach/<int:environment_pk>/": (ADMINS, ADMINS_DO),
    "stacks/<slug:slug>/environment/<int:variable_pk>/": (MEMBERS, MEMBERS),
    "stacks/<slug:slug>/environment/<int:variable_pk>/remove/": (MEMBERS, MEMBERS_DO),
    "stacks/<slug:slug>/forks/<slug:sha>/": (MEMBERS, MEMBERS_DO),
    "stacks/<slug:slug>/head/": (READERS_DO, MEMBERS_DO),
    "stacks/<slug:slug>/modules/": (READERS, ADMINS),
    "stacks/<slug:slug>/plan-older/": (READERS_DO, MEMBERS_DO),
    "stacks/<slug:slug>/runs/new/": (MEMBERS, MEMBERS),
    "stacks/<slug:slug>/runs/<int:number>/": (READERS, NOBODY),
    "stacks/<slug:slug>/runs/<int:number>/act/": (READERS_DO, MEMBERS_DO),
    "stacks/<slug:slug>/runs/<int:number>/confirm/": (MEMBERS_DO, NOBODY),
    "stacks/<slug:slug>/runs/<int:number>/log.txt": (READERS, NOBODY),
    "stacks/<slug:slug>/runs/<int:number>/log/": (READERS_DO, NOBODY),
    "stacks/<slug:slug>/runs/<int:number>/log/first-error/": (READERS_DO, NOBODY),
    "stacks/<slug:slug>/runs/<int:number>/plan/": (READERS, NOBODY),
    "stacks/<slug:slug>/runs/<int:number>/plan/<int:change>/": (READERS, NOBODY),
    "stacks/<slug:slug>/schedules/": (READERS, MEMBERS),
    "stacks/<slug:slug>/schedules/<int:schedule_pk>/": (MEMBERS, MEMBERS),
    "stacks/<slug:slug>/schedules/<int:schedule_pk>/remove/": (MEMBERS, MEMBERS_DO),
    "stacks/<slug:slug>/source/": (MEMBERS, MEMBERS),
    "stacks/<slug:slug>/state/": (PASSWORD_OR_ROLE, PASSWORD_NEEDED),
    "stacks/<slug:slug>/state/compare/": (ADMINS, NOBODY),
    "stacks/<slug:slug>/state/unlock/": (ADMINS, ADMINS_DO),
    "stacks/<slug:slug>/state/upload/": (ADMINS_DO, ADMINS_DO),
    "stacks/<slug:slug>/state/upload/confirm/": (ADMINS_DO, ADMINS_DO),
    "stacks/<slug:slug>/state/versions/": (READERS, NOBODY),
    "stacks/<slug:slug>/state/versions/<int:version>/": (ADMINS, NOBODY),
    "stacks/<slug:slug>/state/versions/<int:version>/restore/": (ADMINS_DO, ADMINS_DO),
    "stacks/new/": (MEMBERS, MEMBERS),
    "stacks/new/branches/": (MEMBERS, NOBODY),
    "stacks/new/repositories/": (MEMBERS, NOBODY),
    "tokens/": (READERS, READERS),
    "tokens/<int:token_pk>/revoke/": (READERS_DO, OF_SOMEBODY_ELSE),
    "webhooks/<slug:provider_slug>/<str:endpoint>": (OPEN_NOT, PASSWORD_NEEDED),
    "webhooks/<slug:provider_slug>/<str:endpoint>/": (OPEN_NOT, PASSWORD_NEEDED),
}


@pytest.fixture
def world(db: None, settings: Settings) -> World:
    """A linked organization that nobody answers for, and one of everything."""
    settings.AZURE_DEVOPS_SERVERS = ["http://127.0.0.1:9"]
    return make_world(make_integration("http://127.0.0.1:9/fabrikam", "a-token"))


def outcome(response: Any) -> str:
    """Say in a word of the table what an answer is."""
    if response.status_code == 200:
        return PAGE
    if response.status_code == 302:
        return SIGN_IN if response["Location"].startswith("/sign-in/?next=") else DONE
    return str(response.status_code)


def send(client: Client, method: str, path: str) -> Any:
    """Send a request and take back what it changed."""
    with transaction.atomic():
        response = client.generic(method, path)
        transaction.set_rollback(True)
    return response


def test_every_url_has_its_row() -> None:
    assert sorted(routes()) == sorted(EXPECTED)


@pytest.mark.parametrize("route", EXPECTED)
def test_each_role_gets_what_it_may(world: World, route: str) -> None:
    asking = clients()
    for method, row in zip(("GET", "POST"), EXPECTED[route], strict=True):
        # A request may end a session: each takes its own.
        found = {
            role: outcome(send(asking[role], method, world.path(route))) for role in reversed(ROLES)
        }
        assert found == dict(zip(ROLES, row, strict=True)), method


OPTIONS = {"stacks/new/branches/", "stacks/new/repositories/"}
OF_STACK = "stacks/<slug:slug>/"


@pytest.mark.parametrize("role", TeamRole.Role)
def test_a_viewer_may_what_members_may_on_the_stacks_of_their_team_and_nothing_more_elsewhere(
    world: World, vera: User, role: TeamRole.Role
) -> None:
    TeamRole.objects.create(stack=world.stack, team=make_team("Web", vera), role=role)
    as_member, as_viewer = ROLES.index("member"), ROLES.index("viewer")
    for route, rows in EXPECTED.items():
        may = route.startswith(OF_STACK) or route in OPTIONS
        for method, row in zip(("GET", "POST"), rows, strict=True):
            found = outcome(send(signed_in(vera), method, world.path(route)))
            assert found == row[as_member if may else as_viewer], (method, route)


def test_a_team_has_no_role_on_another_stack(world: World, vera: User) -> None:
    other = make_stack(world.stack.repository, "Other")
    TeamRole.objects.create(stack=other, team=make_team("Web", vera), role="approver")
    as_viewer = ROLES.index("viewer")
    for route, rows in EXPECTED.items():
        if route.startswith(OF_STACK):
            for method, row in zip(("GET", "POST"), rows, strict=True):
                found = outcome(send(signed_in(vera), method, world.path(route)))
                assert found == row[as_viewer], (method, route)


def test_who_has_no_role_sees_nothing_by_a_team(world: World, charlie: User) -> None:
    TeamRole.objects.create(stack=world.stack, team=make_team("Web", charlie), role="approver")
    no_role = ROLES.index("no role")
    for route, rows in EXPECTED.items():
        for method, row in zip(("GET", "POST"), rows, strict=True):
            found = outcome(send(signed_in(charlie), method, world.path(route)))
            assert found == row[no_role], (method, route)


def test_a_role_by_a_team_ends_with_the_team_or_leaving_it(world: World, vera: User) -> None:
    team = make_team("Web", vera)
    edit = world.path(f"{OF_STACK}edit/")
    viewer = signed_in(vera)
    assert viewer.get(edit).status_code == 403
    for ends in (lambda: team.people.clear(), lambda: team.delete()):
        team.people.set([vera])
        TeamRole.objects.get_or_create(stack=world.stack, team=team, role="member")
        assert viewer.get(edit).status_code == 200
        ends()
        assert viewer.get(edit).status_code == 403


def test_a_viewer_is_offered_on_the_stack_of_their_team_only_what_they_may(
    world: World, vera: User
) -> None:
    TeamRole.objects.create(stack=world.stack, team=make_team("Web", vera), role="member")
    viewer = signed_in(vera)
    page = viewer.get(world.path(OF_STACK)).content.decode()
    assert ">Trigger run</a>" in page and ">Clone</a>" not in page
    for route, rows in EXPECTED.items():
        if route.startswith(OF_STACK) and rows[0][ROLES.index("member")] == PAGE:
            page = viewer.get(world.path(route)).getvalue().decode()
            for link in {part.split('"')[0] for part in page.split('href="/')[1:]}:
                if not link.startswith("static/"):
                    assert viewer.get(f"/{link}").status_code == 200, (route, link)


@pytest.mark.parametrize(
    ("action", "page"),
    [
        (f"{VCS}<int:pk>/test/", f"{VCS}<int:pk>/"),
        (f"{VCS}<int:pk>/reveal/", f"{VCS}<int:pk>/"),
        (f"{VCS}<int:pk>/reconcile/", f"{VCS}<int:pk>/"),
        (f"{VCS}<int:pk>/hooks/keep/", f"{VCS}<int:pk>/#hooks"),
        (f"{VCS}<int:pk>/hooks/leave/", f"{VCS}<int:pk>/#hooks"),
        (f"{VCS}<int:pk>/hooks/read/", f"{VCS}<int:pk>/#hooks"),
        (f"{VCS}<int:pk>/hooks/test/", f"{VCS}<int:pk>/#hooks"),
        (f"{VCS}<int:pk>/password/end/", f"{VCS}<int:pk>/#hooks"),
        (f"{VCS}<int:pk>/reports/retry/", f"{VCS}<int:pk>/reports/"),
        (f"{VCS}<int:pk>/deliveries/replay/", f"{VCS}<int:pk>/deliveries/"),
        (
            f"{VCS}<int:pk>/deliveries/replay/?event=git.push",
            f"{VCS}<int:pk>/deliveries/?event=git.push",
        ),
        (
            f"{VCS}<int:pk>/deliveries/<int:delivery_pk>/replay/",
            f"{VCS}<int:pk>/deliveries/<int:delivery_pk>/",
        ),
        ("account/notifications/<int:subscription_pk>/remove/", "account/notifications/"),
        ("settings/notifications/log/<int:message_pk>/resend/", "settings/notifications/log/"),
        ("stacks/<slug:slug>/head/", "stacks/<slug:slug>/"),
        ("tokens/<int:token_pk>/revoke/", "tokens/"),
        ("settings/people/<int:pk>/tokens/<int:token_pk>/revoke/", "settings/people/<int:pk>/"),
        ("stacks/<slug:slug>/plan-older/", "stacks/<slug:slug>/"),
        ("stacks/<slug:slug>/runs/<int:number>/act/", "stacks/<slug:slug>/runs/<int:number>/"),
    ],
)
def test_opening_the_address_of_a_button_leads_to_its_page_and_does_nothing(
    world: World, admin: Client, action: str, page: str
) -> None:
    before = world.integration.failures
    for answer in (admin.get(world.path(action)), admin.head(world.path(action))):
        assert (answer.status_code, answer["Location"]) == (302, world.path(page))
    world.integration.refresh_from_db()
    assert world.integration.failures == before  # nobody answers: a try would be noted
    assert not entries().exists()


def test_a_403_says_what_to_do(world: World) -> None:
    asking = clients()
    checked = 0
    for route, rows in EXPECTED.items():
        for method, row in zip(("GET", "POST"), rows, strict=True):
            for role, expected in zip(ROLES, row, strict=True):
                if expected != REFUSED:
                    continue
                page = send(asking[role], method, world.path(route)).content.decode()
                assert "<h1>Not allowed</h1>" in page
                assert "Ask an admin of Stackhook" in page
                assert ("you have no role yet" in page) == (role == "no role")
                checked += 1
    assert checked > 50


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_no_other_method_lets_a_stranger_in(world: World, stranger: Client, method: str) -> None:
    for route, (get, _) in EXPECTED.items():
        if get[-1] == SIGN_IN:
            assert outcome(send(stranger, method, world.path(route))) == SIGN_IN, route


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_no_other_method_changes_anything(world: World, admin: Client, method: str) -> None:
    for route in EXPECTED:
        if not route.startswith("sign-in/"):
            takes = method == "DELETE" and route == "stacks/<slug:slug>/state/"
            expected = "401" if takes else NO_METHOD
            assert outcome(send(admin, method, world.path(route))) == expected, route


def test_somebody_without_a_role_sees_no_navigation_but_can_sign_out(charlie: User) -> None:
    page = signed_in(charlie).get("/").content.decode()
    assert 'aria-label="Main"' not in page
    assert "Sign out" in page


def test_a_role_taken_away_counts_at_once(world: World, bob: User) -> None:
    member = signed_in(bob)
    assert member.get("/stacks/").status_code == 200
    bob.groups.clear()
    assert member.get("/stacks/").status_code == 403
    give_role(bob, Role.ADMIN)
    assert member.get("/settings/people/").status_code == 200


def test_somebody_deactivated_is_a_stranger_at_once(bob: User) -> None:
    member = signed_in(bob)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert outcome(member.get("/")) == SIGN_IN


def test_the_page_asked_for_comes_after_signing_in(world: World, stranger: Client) -> None:
    path = f"/stacks/{world.stack.slug}/"
    assert stranger.get(path)["Location"] == f"/sign-in/?next={path}"


def test_a_member_sees_an_integration_and_its_health_and_nothing_secret(
    world: World, member: Client
) -> None:
    page = member.get("/settings/vcs-providers/").content.decode()
    assert "Azure DevOps · fabrikam" in page
    assert "Retrying" in page
    assert "refused the connection" in page
    assert "Last successful call" in page
    for hidden in (
        str(world.integration.endpoint.uuid),
        "Webhook endpoint",
        "Webhook password",
        ">Test<",
        ">Edit<",
        ">Unlink<",
        ">Reveal<",
        ">Set up<",
    ):
        assert hidden not in page, hidden


def test_a_member_sees_when_all_is_well(world: World, member: Client) -> None:
    world.integration.record_success()
    assert ">Connected<" in member.get("/settings/vcs-providers/").content.decode()


def test_an_admin_sees_all_of_an_integration(world: World, admin: Client) -> None:
    page = admin.get("/settings/vcs-providers/").content.decode()
    assert world.integration.endpoint_url in page
    for shown in ("Webhook password", ">Test<", ">Edit<", ">Unlink<", ">Reveal<", ">Set up<"):
        assert shown in page, shown


def test_a_viewer_is_offered_nothing_that_they_may_not_do(world: World, vera: User) -> None:
    viewer = signed_in(vera)
    own = {"password/", "tokens/", "account/notifications/"}
    pages = {
        world.path(route): route in own
        for route, (get, _) in EXPECTED.items()
        if get[ROLES.index("viewer")] == PAGE and get[-1] == SIGN_IN
    }
    pages[f"/stacks/{world.detached.slug}/"] = False
    links: set[str] = set()
    for path, is_own in pages.items():
        page = viewer.get(path).getvalue().decode()
        assert "hx-post" not in page, path
        forms = re.findall(r'<form[^>]*method="post".*?</form>', page, re.DOTALL)
        with_button = [form for form in forms if "<button" in form]
        assert is_own or [form for form in with_button if "/sign-out/" not in form] == [], path
        links |= {part.split('"')[0] for part in page.split('href="/')[1:]}
    for link in links:
        if not link.startswith("static/"):
            assert viewer.get(f"/{link}").status_code == 200, link


def test_a_member_is_led_to_no_page_they_may_not_open(world: World, member: Client) -> None:
    Integration.objects.update(token_expires_on="2020-01-01")
    stack = f"/stacks/{world.stack.slug}/"
    for path in (
        "/",
        "/stacks/",
        "/settings/vcs-providers/",
        stack,
        f"{stack}activity/",
        f"{stack}runs/1/",
        f"{stack}runs/1/plan/",
        f"{stack}state/versions/",
        f"{stack}environment/",
        "/modules/",
        world.path(MODULE),
        world.path(f"{MODULE}versions/"),
        world.path(f"{MODULE}activity/"),
        world.path(VERSION),
    ):
        page = member.get(path).content.decode()
        for link in {part.split('"')[0] for part in page.split('href="/')[1:]}:
            if not link.startswith("static/"):
                assert member.get(f"/{link}").status_code == 200, (path, link)
