"""Test checks each right of a token: faults, one at a time, and what it names.

The faults are those of an emulator that refuses by scope and by permission as Azure DevOps does.
"""

import html
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.builders import make_integration
from tests.emulator import Emulator
from tests.emulator.model import Organization, Project, Repository
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.models import Checkup, Integration
from vcs_integrations.organizations import checkup
from vcs_integrations.organizations.refreshing import refresh
from vcs_integrations.providers.base import INTERACTIVE, Finding, Judgment, Problem, Right

ANN = "Ann Admin"
READ, STATUS, COMMENT = Right.READ_CODE, Right.WRITE_COMMIT_STATUSES, Right.COMMENT
PULL_REQUEST_STATUS = Right.WRITE_PULL_REQUEST_STATUSES
SEE, CREATE, REMOVE = Right.SEE_HOOKS, Right.CREATE_HOOKS, Right.REMOVE_HOOKS
PLATFORM, SHOP = "Platform Team", "Shop"
OF_REPOSITORIES = "Project settings → Repositories → Security"
OF_PROJECTS = "Project settings → Permissions → Project Administrators → Members"
SCOPES = "User settings → Personal access tokens"


@dataclass
class World:
    """Two projects with repositories that stacks use, linked by a token of Ann's."""

    emulator: Emulator
    organization: Organization
    platform: Project
    infrastructure: Repository
    network: Repository
    integration: Integration
    admin: Client

    def use_token(self, *scopes: str) -> None:
        """Let the integration have a token with other scopes, as if it had been made so."""
        credentials = self.integration.read_credentials()
        credentials.token = self.organization.add_token(set(scopes))
        credentials.save()

    def test(self) -> list[str]:
        """Press Test; return the notifications."""
        path = f"/settings/vcs-providers/{self.integration.pk}/test/"
        return [*map(str, get_messages(self.admin.post(path).wsgi_request))]

    @property
    def findings(self) -> list[Finding]:
        return Checkup.objects.get(integration=self.integration).findings

    def page(self) -> str:
        answer = self.admin.get(self.integration.get_absolute_url())
        return html.unescape(answer.content.decode())


@pytest.fixture
def world(emulator: Emulator, organization: Organization, token: str, admin: Client) -> World:
    platform = organization.projects[0]
    network = platform.add_repository("network", files={"main.tf": ""})
    organization.add_project(SHOP).add_repository("web", files={"main.tf": ""})
    integration = make_integration(organization.url, token)
    integration.repositories.update(due_at=timezone.now())  # as if stacks used them
    infrastructure = platform.repository("infrastructure")
    assert infrastructure
    return World(emulator, organization, platform, infrastructure, network, integration, admin)


def verdicts(findings: list[Finding]) -> dict[tuple[Right, str], Judgment]:
    return {(one.right, one.project): one.verdict for one in findings}


EVERYTHING = {(right, project): Judgment.OK for right in Right for project in (PLATFORM, SHOP)}


def test_what_works_is_said_to_work_and_nothing_is_left_behind(world: World) -> None:
    world.infrastructure.push({"a.tf": "1"}, branch="topic")
    opened = world.infrastructure.open_pull_request("topic")
    assert world.test() == ["Connecting to Azure DevOps succeeded"]
    assert verdicts(world.findings) == EVERYTHING
    assert all(not (one.cause or one.fix) for one in world.findings)
    repositories = world.organization.repositories
    assert not any(status for one in repositories for status in one.statuses.values())
    assert not opened.statuses
    assert not opened.threads
    assert not world.organization.subscriptions
    page = world.page()
    assert f"The token belongs to <strong>{ANN}</strong>." in page
    assert page.count("</svg> Works<") == 2 * len(Right)


# Faults of a token's rights, one at a time


@dataclass(frozen=True)
class Case:
    """A fault, the rights that are missing then, and what is said of each of them."""

    inject: Callable[[World], None]
    missing: set[tuple[Right, str]]
    cause: str
    fix: str


def scopes(*names: str) -> Callable[[World], None]:
    return lambda world: world.use_token(*names)


def denied(right: str, where: str = PLATFORM, user: str = ANN) -> Callable[[World], None]:
    """Deny a right in a project, in "infrastructure" alone, or everywhere if that is empty."""

    def inject(world: World) -> None:
        if where == "infrastructure":
            world.organization.deny(user, right, world.platform, world.infrastructure)
        else:
            world.organization.deny(user, right, world.organization.project(where))

    return inject


def both(*rights: Right) -> set[tuple[Right, str]]:
    return {(right, project) for right in rights for project in (PLATFORM, SHOP)}


STATUS_SCOPES = "The token lacks the scope Code: Status or Code: Read & write."
COMMENT_SCOPES = "The token lacks the scope PR threads or Code: Read & write."
PULL_REQUESTS = "The token's owner lacks Contribute to pull requests on"
CASES = {
    "a token that may only write comments": Case(
        scopes("vso.code", "vso.threads_full"),
        {(STATUS, ""), (PULL_REQUEST_STATUS, "")},
        STATUS_SCOPES,
        SCOPES,
    ),
    "a token that may only write statuses": Case(
        scopes("vso.code", "vso.code_status"), {(COMMENT, "")}, COMMENT_SCOPES, SCOPES
    ),
    "a token that may only read": Case(
        scopes("vso.code"),
        {(STATUS, ""), (PULL_REQUEST_STATUS, ""), (COMMENT, "")},
        "Code: Read & write.",
        SCOPES,
    ),
    "no reading in a project": Case(
        denied("read"),
        {(READ, PLATFORM)},
        "The token's owner lacks Read on infrastructure, network.",
        OF_REPOSITORIES,
    ),
    "no reading in another project": Case(
        denied("read", SHOP), {(READ, SHOP)}, "lacks Read on web.", OF_REPOSITORIES
    ),
    "no reading in a repository": Case(
        denied("read", "infrastructure"),
        {(READ, PLATFORM)},
        "lacks Read on infrastructure.",
        OF_REPOSITORIES,
    ),
    "no contributing in a project": Case(
        denied("contribute"),
        {(STATUS, PLATFORM)},
        "lacks Contribute on infrastructure, network.",
        OF_REPOSITORIES,
    ),
    "no contributing in a repository": Case(
        denied("contribute", "infrastructure"),
        {(STATUS, PLATFORM)},
        "lacks Contribute on infrastructure.",
        OF_REPOSITORIES,
    ),
    "no contributing in another project": Case(
        denied("contribute", SHOP), {(STATUS, SHOP)}, "lacks Contribute on web.", OF_REPOSITORIES
    ),
    "no contributing anywhere": Case(
        denied("contribute", ""), both(STATUS), "lacks Contribute on ", OF_REPOSITORIES
    ),
    "no pull requests in a project": Case(
        denied("contribute_to_pull_requests"),
        {(PULL_REQUEST_STATUS, PLATFORM), (COMMENT, PLATFORM)},
        f"{PULL_REQUESTS} infrastructure, network.",
        OF_REPOSITORIES,
    ),
    "no pull requests in a repository": Case(
        denied("contribute_to_pull_requests", "infrastructure"),
        {(PULL_REQUEST_STATUS, PLATFORM), (COMMENT, PLATFORM)},
        f"{PULL_REQUESTS} infrastructure.",
        OF_REPOSITORIES,
    ),
    "no pull requests anywhere": Case(
        denied("contribute_to_pull_requests", ""),
        both(PULL_REQUEST_STATUS, COMMENT),
        PULL_REQUESTS,
        OF_REPOSITORIES,
    ),
    "no seeing hooks in a project": Case(
        denied("view_subscriptions"), {(SEE, PLATFORM)}, "lacks View subscriptions.", OF_PROJECTS
    ),
    "no seeing hooks anywhere": Case(
        denied("view_subscriptions", ""), both(SEE), "lacks View subscriptions.", OF_PROJECTS
    ),
    "no creating hooks in a project": Case(
        denied("edit_subscriptions"), {(CREATE, PLATFORM)}, "lacks Edit subscriptions.", OF_PROJECTS
    ),
    "no creating hooks in another project": Case(
        denied("edit_subscriptions", SHOP),
        {(CREATE, SHOP)},
        "lacks Edit subscriptions.",
        OF_PROJECTS,
    ),
    "no creating hooks anywhere": Case(
        denied("edit_subscriptions", ""), both(CREATE), "lacks Edit subscriptions.", OF_PROJECTS
    ),
    "no removing hooks in a project": Case(
        denied("delete_subscriptions"),
        {(REMOVE, PLATFORM)},
        "lacks Delete subscriptions.",
        OF_PROJECTS,
    ),
    "no removing hooks anywhere": Case(
        denied("delete_subscriptions", ""),
        both(REMOVE),
        "lacks Delete subscriptions.",
        OF_PROJECTS,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_missing_right_is_named_with_its_fix_and_no_other(world: World, name: str) -> None:
    case = CASES[name]
    case.inject(world)
    succeeded, warning = world.test()
    assert succeeded == "Connecting to Azure DevOps succeeded"
    count = len(case.missing)
    assert warning.startswith(f"The token lacks {'a right' if count == 1 else f'{count} rights'}: ")
    assert f"{world.integration.get_absolute_url()}#checkup" in warning

    page = world.page()
    missing = [one for one in world.findings if one.verdict != Judgment.OK]
    assert {(one.right, one.project) for one in missing} == case.missing
    for one in missing:
        assert one.verdict == Judgment.MISSING
        assert case.cause in one.cause
        assert case.fix in one.fix
        assert one.evidence
        assert one.cause in page
        assert one.fix in page
    lost = {right for right, _ in case.missing}
    assert {one.right for one in world.findings if one.verdict == Judgment.OK} >= {*Right} - lost


def cells(page: str) -> dict[str, dict[str, str]]:
    """Return the words of the table of rights, by project and right."""
    rows = re.findall(r'<tr>\s*<th scope="row">([^<]*)</th>(.*?)</tr>', page, re.DOTALL)
    cell = re.compile(r'data-label="([^"]*)">.*?</svg> ([^<]*)<', re.DOTALL)
    return {project: dict(cell.findall(row)) for project, row in rows}


def test_each_right_has_a_word_in_each_project_in_use(world: World) -> None:
    denied("edit_subscriptions", SHOP)(world)
    world.test()
    words = dict.fromkeys(checkup.RIGHT_TEXTS.values(), "Works")
    lacking = words | {"Create service hooks": "Missing"}
    assert cells(world.page()) == {PLATFORM: words, SHOP: lacking}
    assert f"<strong>Create service hooks</strong> in {SHOP}: The token's owner" in world.page()
    # What came into use since is a row, too, and what is not used any more is none.
    world.organization.add_project("Later").add_repository("app")
    refresh(world.integration, INTERACTIVE)
    world.integration.projects.filter(name="Later").update(keeps_hooks=True)
    world.integration.repositories.filter(project_name=SHOP).update(due_at=None)
    unchecked = dict.fromkeys(words, "Not checked")
    assert cells(world.page()) == {PLATFORM: words, "Later": unchecked}
    assert f"</strong> in {SHOP}" not in world.page()


# Where Azure DevOps does not say what somebody may do


NOT_RETURNED = "Azure DevOps doesn't show this token what its owner may do."


@pytest.mark.parametrize(
    ("right", "where", "expected"),
    [
        ("contribute", PLATFORM, {(STATUS, PLATFORM)}),
        ("contribute", "infrastructure", {(STATUS, PLATFORM)}),
        ("contribute", SHOP, {(STATUS, SHOP)}),
        (
            "contribute_to_pull_requests",
            "infrastructure",
            {(PULL_REQUEST_STATUS, PLATFORM), (COMMENT, PLATFORM)},
        ),
        ("edit_subscriptions", SHOP, {(CREATE, SHOP)}),
        ("edit_subscriptions", "", both(CREATE)),
        ("delete_subscriptions", "", set()),
        ("view_subscriptions", PLATFORM, set()),
    ],
)
def test_a_refusal_proves_what_permissions_would_have_said(
    world: World, right: str, where: str, expected: set[tuple[Right, str]]
) -> None:
    world.organization.permissions_api = False
    denied(right, where)(world)
    world.test()
    found = verdicts(world.findings)
    assert {place for place, one in found.items() if one == Judgment.MISSING} == expected
    unknown = [one for one in world.findings if one.verdict == Judgment.UNKNOWN]
    assert {(one.right, one.project) for one in unknown} == both(SEE, CREATE, REMOVE) - expected
    assert {one.cause for one in unknown} == {NOT_RETURNED}
    assert not world.organization.subscriptions


def test_hooks_that_are_listed_may_be_seen(world: World) -> None:
    world.organization.permissions_api = False
    world.organization.add_subscription(world.platform, "git.push", "https://hooks.example/1")
    world.test()
    found = verdicts(world.findings)
    assert (found[SEE, PLATFORM], found[SEE, SHOP]) == (Judgment.OK, Judgment.UNKNOWN)


def test_a_repository_that_is_not_seen_may_be_deleted(world: World) -> None:
    world.organization.permissions_api = False
    denied("read", "infrastructure")(world)
    assert len(world.test()) == 1
    (found,) = (one for one in world.findings if (one.right, one.project) == (READ, PLATFORM))
    assert found.verdict == Judgment.UNKNOWN
    assert found.cause == "The token does not see infrastructure: deleted, or its owner lacks Read."
    assert OF_REPOSITORIES in found.fix


def test_a_deleted_repository_is_no_missing_right(world: World) -> None:
    world.platform.repositories.remove(world.network)
    assert world.test() == ["Connecting to Azure DevOps succeeded"]
    assert verdicts(world.findings) == EVERYTHING


# Faults on the way


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("credentials-203", Problem.TOKEN_REFUSED),
        ("credentials-302", Problem.TOKEN_REFUSED),
        ("credentials-401-json", Problem.TOKEN_REFUSED),
        ("token-invalid-401", Problem.TOKEN_REFUSED),
        ("token-expired", Problem.TOKEN_EXPIRED),
        ("conditional-access", Problem.SIGN_IN_POLICY),
        ("throttled", Problem.THROTTLED),
        ("unavailable", Problem.UNAVAILABLE),
        ("organization-unknown", Problem.ORGANIZATION_UNKNOWN),
        ("not-azure-devops", Problem.NOT_THE_PROVIDER),
        ("reset", Problem.CONNECTION_CUT),
    ],
)
def test_where_the_connection_fails_that_alone_is_named(
    world: World, fault: str, problem: Problem
) -> None:
    world.test()
    before = Checkup.objects.get()
    world.emulator.faults.add(fault)
    (failed,) = world.test()[1:]
    assert failed.startswith("Connecting to Azure DevOps failed: ")
    assert Integration.objects.get().problem == problem
    assert Checkup.objects.get().checked_at == before.checked_at


@pytest.mark.parametrize(
    ("path", "unknown"),
    [
        (f"commits/{'0' * 40}/statuses", {*Right} - {READ}),
        ("/threads", {COMMENT, SEE, CREATE, REMOVE}),
        ("hooks/subscriptions", {SEE, CREATE, REMOVE}),
    ],
)
def test_after_a_failure_that_passes_nothing_more_is_asked(
    world: World, path: str, unknown: set[Right]
) -> None:
    world.emulator.faults.add("unavailable", path=path)
    assert world.test() == ["Connecting to Azure DevOps succeeded"]
    failed = [one for one in world.findings if one.verdict != Judgment.OK]
    assert {one.right for one in failed} == unknown
    assert {one.verdict for one in failed} == {Judgment.UNKNOWN}
    assert {one.evidence for one in failed} == {"HTTP 503, TF10216, ServiceUnavailableException"}


def test_what_there_is_no_time_for_is_not_known(world: World) -> None:
    world.emulator.faults.add("slow", path="/repositories$", seconds=3)
    world.emulator.faults.add("slow", path="/threads", seconds=10)
    started = time.monotonic()
    assert world.test() == ["Connecting to Azure DevOps succeeded"]
    assert time.monotonic() - started < 7.5
    causes = {one.right: one.cause for one in world.findings if one.verdict == Judgment.UNKNOWN}
    assert causes == dict.fromkeys(
        [COMMENT, SEE, CREATE, REMOVE], "There was no time left to check it."
    )


# Where it is looked


def test_a_repository_is_an_example_until_stacks_use_some(world: World) -> None:
    world.integration.repositories.update(due_at=None)
    world.test()
    assert {one.project for one in world.findings} == {PLATFORM}


def test_an_organization_without_repositories_has_nothing_to_check(
    emulator: Emulator, admin: Client
) -> None:
    empty = emulator.add_organization("empty")
    integration = make_integration(empty.url, empty.add_token())
    assert "Not checked yet." in admin.get(integration.get_absolute_url()).content.decode()
    admin.post(f"/settings/vcs-providers/{integration.pk}/test/")
    assert Checkup.objects.get().findings == []
    page = admin.get(integration.get_absolute_url()).content.decode()
    assert "There is no repository yet" in page


def test_a_disabled_repository_is_left_out(world: World) -> None:
    world.network.is_disabled = True
    denied("contribute")(world)
    world.test()
    (missing,) = (one for one in world.findings if one.verdict == Judgment.MISSING)
    assert missing.cause == "The token's owner lacks Contribute on infrastructure."


def test_projects_with_hooks_are_checked_after_those_that_stacks_use(world: World) -> None:
    for number in range(9):
        world.organization.add_project(f"Hooked {number}").add_repository("app")
    world.organization.add_project("Unused").add_repository("app")
    refresh(world.integration, INTERACTIVE)
    world.integration.projects.filter(name__startswith="Hooked").update(keeps_hooks=True)
    seen = world.integration.projects.get(name="Hooked 0")
    seen.keeps_hooks = False
    seen.save()
    world.integration.subscriptions.create(external_id="1", project_id=seen.external_id)
    world.test()
    looked_at = [one.project for one in world.findings if one.right == CREATE]
    assert looked_at == [PLATFORM, SHOP, *(f"Hooked {number}" for number in range(8))]
    # One of its repositories serves as an example.
    assert {one.right for one in world.findings if one.project == "Hooked 0"} == set(Right)
    assert "1 more project is in use and not checked." in world.page()


def test_projects_that_are_not_checked_cost_no_query(world: World) -> None:
    def cost(projects: int) -> int:
        for number in range(projects):
            project = world.organization.add_project(f"Hooked {projects} {number}")
            project.add_repository("app")
        refresh(world.integration, INTERACTIVE)
        world.integration.projects.update(keeps_hooks=True)
        client = world.integration.client(INTERACTIVE)
        with CaptureQueriesContext(connection) as queries:
            found = checkup.examine(world.integration, client)
        assert len({one.project for one in found}) == 10
        return len(queries)

    assert cost(12) == cost(30)


def test_many_repositories_are_asked_about_in_few_calls(world: World) -> None:
    for number in range(45):
        world.platform.add_repository(f"more-{number}")
    world.test()
    world.integration.repositories.update(due_at=timezone.now())
    world.organization.deny(ANN, "contribute", world.platform)
    world.test()
    (missing,) = (one for one in world.findings if one.verdict == Judgment.MISSING)
    assert missing.cause.endswith(" and 44 more.")


# Replacing the token


KEPT = "The token was not replaced: it lacks rights that the present one has"


@dataclass
class Replacement:
    """What came of entering a new token: notifications, and errors at its field if refused."""

    said: list[str]
    errors: list[str]
    page: str


def replace(world: World, token: str, **more: str) -> Replacement:
    data = {"name": "fabrikam", "description": "", "token": token, **more}
    answer = world.admin.post(f"/settings/vcs-providers/{world.integration.pk}/edit/", data)
    errors = answer.context["form"].errors.get("token", []) if answer.context else []
    page = html.unescape(answer.content.decode())
    return Replacement([*map(str, get_messages(answer.wsgi_request))], list(errors), page)


def stored_token(world: World) -> str:
    return Integration.objects.get().read_credentials().token


def test_a_token_that_can_do_less_does_not_replace_the_present_one(
    world: World, token: str
) -> None:
    narrow = world.organization.add_token({"vso.code", "vso.code_status"})
    refused = replace(world, narrow)
    assert refused.said == [KEPT]
    first, second = refused.errors
    assert first == "The present token was kept, since it can do more."
    assert second.startswith(f"It can't comment on pull requests. {COMMENT_SCOPES}")
    assert SCOPES in second
    assert "Replace anyway" in refused.page
    assert narrow not in refused.page
    assert stored_token(world) == token

    assert replace(world, narrow).said == [KEPT]
    done = replace(world, narrow, replace_anyway="on")
    assert done.said[:2] == ["Integration was changed", "Connecting to Azure DevOps succeeded"]
    assert done.said[2].startswith("The token lacks a right: comment on pull requests. ")
    assert stored_token(world) == narrow
    assert "Replaced anyway." in world.page()
    assert verdicts(world.findings)[COMMENT, ""] == Judgment.MISSING


@pytest.mark.parametrize(
    ("right", "where", "permissions_api", "says"),
    [
        ("read", "infrastructure", True, "It can't read code in Platform Team."),
        ("read", "infrastructure", False, "It can't read code in Platform Team."),
        ("contribute", SHOP, True, "It can't write commit statuses in Shop."),
        ("contribute", SHOP, False, "It can't write commit statuses in Shop."),
        ("edit_subscriptions", PLATFORM, True, "It can't create service hooks in Platform Team."),
    ],
)
def test_a_token_of_somebody_who_may_do_less_is_refused(
    world: World, token: str, right: str, where: str, permissions_api: bool, says: str
) -> None:
    world.organization.permissions_api = permissions_api
    denied(right, where, user="Bo Builder")(world)
    refused = replace(world, world.organization.add_token(user="Bo Builder"))
    assert [one.startswith(says) for one in refused.errors[1:]] == [True]
    assert stored_token(world) == token


def test_a_right_that_the_present_token_may_lack_too_is_no_reason_to_refuse(world: World) -> None:
    world.organization.permissions_api = False
    denied("edit_subscriptions", user="Bo Builder")(world)
    new = world.organization.add_token(user="Bo Builder")
    assert replace(world, new).said[2].startswith("The token lacks a right: create service hooks")
    assert stored_token(world) == new


def test_what_an_ended_token_could_do_is_remembered(world: World, token: str) -> None:
    world.test()
    world.organization.revoke_token(token)
    narrow = world.organization.add_token({"vso.code"})
    assert replace(world, narrow).said[-1] == KEPT
    other = world.organization.add_token(user="Bo Builder")
    assert KEPT not in replace(world, other).said[2:]
    assert stored_token(world) == other
    assert "The token belongs to <strong>Bo Builder</strong>." in world.page()


def test_a_token_that_can_do_as_little_replaces_the_present_one(world: World) -> None:
    world.use_token("vso.code")
    as_narrow = world.organization.add_token({"vso.code"})
    said = replace(world, as_narrow).said
    assert said[:2] == ["Integration was changed", "Connecting to Azure DevOps succeeded"]
    assert said[2].startswith("The token lacks 3 rights: ")
    assert stored_token(world) == as_narrow


def test_whose_a_new_token_is_stays_open_where_that_is_not_returned(world: World) -> None:
    world.emulator.faults.add("unavailable", path="connectionData")
    replace(world, world.organization.add_token(user="Bo Builder"))
    assert "The token belongs to" not in world.page()


def test_what_was_found_goes_with_the_token(world: World, token: str) -> None:
    world.test()
    unlink(world.integration)
    assert not Checkup.objects.exists()
    again = make_integration(world.organization.url, token)
    assert again.pk == world.integration.pk
    world.integration.refresh_from_db()
    assert "Not checked yet." in world.page()
