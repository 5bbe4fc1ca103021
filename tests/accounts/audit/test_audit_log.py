"""The audit log: each thing that people do is in it, with who, when and to what."""

import re
from collections.abc import Callable
from datetime import timedelta
from math import lcm
from typing import Any

import pytest
from django.conf import settings as product
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, OperationalError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.audit.records import Verb, entries, entries_about, with_pages
from accounts.models import AuditEntry, PersonalToken, User
from modules.models import Check, Module, ModuleVersion
from stacks.models import Run, RunAction, Stack, StackVariable, StateGrant, StateLock, StateVersion
from stacks.rules.states import State
from stacks.sources.heads import read_head
from tests.addresses import World, make_world
from tests.builders import make_stack, make_state_version, store_integration
from tests.conftest import PASSWORD, signed_in
from tests.emulator.model import Organization
from tests.stacks.conftest import create, source
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.models import Delivery, Integration, Repository, Subscription, WebhookSecret
from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.base import digest

LOG = "/settings/audit-log/"
VCS = "/settings/vcs-providers/"
PEOPLE = "/settings/people/"
SHARED = "/settings/environments/"
SECRET = "a-secret-value-that-was-typed"
OURS, NETWORK, DAVE = "Azure DevOps · fabrikam", "Network", "dave"
RUN = "Run 1 of Network"
MODULE = "fabrikam/network/azurerm"
EDITED = {
    "branch": "main",
    "versions_from": "tags",
    "tag_prefix": "net",
    "applies_tests": "on",
}
DAILY = {"what": "drift", "cron": "0 6 * * mon-fri", "time_zone": "europe/berlin"}


@pytest.fixture
def world(integration: Integration) -> World:
    return make_world(integration)


def log() -> list[AuditEntry]:
    return as_read_by("bob")


def as_read_by(name: str) -> list[AuditEntry]:
    return with_pages(list(entries()), User.objects.filter(username=name).first() or User())


def words(response: Any) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).split())


# What is recorded

Act = Callable[[World, Client, Organization], Any]
# What was done, to what, the note, and what a browser sends
DONE: list[tuple[Verb, str, str, Act]] = [
    (Verb.EDITED, OURS, "Name, Description", lambda w, c, o: edit(w, c, {"description": "Of all"})),
    (Verb.TOKEN_REPLACED, OURS, "", lambda w, c, o: edit(w, c, {"token": o.add_token()})),
    (Verb.TESTED, OURS, "Connecting succeeded.", lambda w, c, o: at(w, c, "test/")),
    (Verb.RECONCILED, OURS, "1 repository", lambda w, c, o: at(w, c, "reconcile/")),
    (Verb.PASSWORD_REVEALED, OURS, "", lambda w, c, o: at(w, c, "reveal/")),
    (
        Verb.PASSWORD_ROTATED,
        OURS,
        "The old one is accepted, too",
        lambda w, c, o: at(w, c, "password/", mark=w.integration.password_mark),
    ),
    (
        Verb.PASSWORD_ROTATED,
        OURS,
        "The old webhook password is not accepted any more",
        lambda w, c, o: end_overlap(w, c),
    ),
    (
        Verb.HOOKS_CREATED,
        OURS,
        "Of Platform Team",
        lambda w, c, o: at(w, c, "hooks/keep/", project=str(o.projects[0].id)),
    ),
    (
        Verb.HOOKS_LEFT,
        OURS,
        "Of Platform Team",
        lambda w, c, o: at(w, c, "hooks/leave/", project=str(o.projects[0].id)),
    ),
    (
        Verb.HOOK_TESTED,
        OURS,
        "Code pushed of all projects",
        lambda w, c, o: try_hook(w, c),
    ),
    (Verb.UNLINKED, OURS, "Service hooks left over: 0", lambda w, c, o: at(w, c, "unlink/")),
    (Verb.REPLAYED, OURS, "Chosen: 7", lambda w, c, o: replay(w, c, "deliveries/7/replay/")),
    (Verb.REPLAYED, OURS, "Chosen: 7", lambda w, c, o: replay(w, c, "deliveries/replay/")),
    (Verb.STACK_CREATED, "New", "", lambda w, c, o: create(c, w.integration, name="New")),
    (Verb.STACK_CHANGED, "N", "Name and labels", lambda w, c, o: stack(c, "edit/", name="N")),
    (Verb.STACK_CHANGED, NETWORK, "Define behavior", lambda w, c, o: stack(c, "behavior/")),
    (Verb.STACK_CHANGED, NETWORK, "Configure backend", lambda w, c, o: backend(w, c)),
    (
        Verb.STACK_CHANGED,
        NETWORK,
        "Confirmation: 2 approvals: members, approvers and admins",
        lambda w, c, o: stack(c, "confirmation/", confirmers="member", approvals_needed="2"),
    ),
    (
        Verb.STACK_CHANGED,
        NETWORK,
        "Confirmation: 1 approval: members, approvers and admins; Ops: Approver",
        lambda w, c, o: stack(
            c, "confirmation/", confirmers="member", approvals_needed="1", approver_teams="Ops"
        ),
    ),
    (
        Verb.STACK_CHANGED,
        NETWORK,
        "Platform Team/infrastructure, branch main",
        lambda w, c, o: stack(
            c,
            "source/",
            provider=str(w.integration.pk),
            repository="Platform Team/infrastructure",
            branch="main",
        ),
    ),
    (Verb.STACK_DELETED, NETWORK, "", lambda w, c, o: stack(c, "delete/", stack_name="Network")),
    (
        Verb.ENVIRONMENT_CHANGED,
        NETWORK,
        "TF_VAR_x was added",
        lambda w, c, o: stack(c, "environment/", name="TF_VAR_x", value=SECRET, is_secret="on"),
    ),
    (
        Verb.ENVIRONMENT_CHANGED,
        NETWORK,
        "TF_VAR_region was changed",
        lambda w, c, o: stack(c, f"environment/{w.variable.pk}/", value=SECRET),
    ),
    (
        Verb.ENVIRONMENT_CHANGED,
        NETWORK,
        "TF_VAR_region was removed",
        lambda w, c, o: stack(c, f"environment/{w.variable.pk}/remove/"),
    ),
    (
        Verb.STATE_DOWNLOADED,
        NETWORK,
        "Version 1",
        lambda w, c, o: c.get("/stacks/network/state/versions/1/"),
    ),
    (
        Verb.STATE_COMPARED,
        NETWORK,
        "Version 1 with Version 1",
        lambda w, c, o: c.get("/stacks/network/state/compare/?old=1&new=1"),
    ),
    (
        Verb.STATE_RESTORED,
        NETWORK,
        "Version 1 as Version 3: lineage a, serial 3",
        lambda w, c, o: restore_state(w, c),
    ),
    (
        Verb.STATE_UPLOADED,
        NETWORK,
        "Version 1: lineage a, serial 7",
        lambda w, c, o: upload_state(w, c),
    ),
    (
        Verb.SHARED_ENVIRONMENT_CREATED,
        "AWS",
        "",
        lambda w, c, o: c.post(f"{SHARED}new/", {"name": "AWS", "priority": "1"}),
    ),
    (
        Verb.SHARED_ENVIRONMENT_CHANGED,
        "Azure",
        "Name and priority: 3",
        lambda w, c, o: shared(w, c, "edit/", name="Azure", priority="3"),
    ),
    (
        Verb.SHARED_ENVIRONMENT_CHANGED,
        "Azure",
        "Labels: prod, test",
        lambda w, c, o: shared(w, c, "labels/", labels="prod, test"),
    ),
    (
        Verb.SHARED_ENVIRONMENT_CHANGED,
        "Azure",
        "TF_VAR_x was added",
        lambda w, c, o: shared(w, c, "add-variable/", name="TF_VAR_x", value=SECRET),
    ),
    (
        Verb.SHARED_ENVIRONMENT_CHANGED,
        "Azure",
        "ARM_TENANT_ID was removed",
        lambda w, c, o: shared(w, c, f"variables/{w.shared.pk}/remove/"),
    ),
    (
        Verb.ENVIRONMENT_CHANGED,
        NETWORK,
        "Azure was detached",
        lambda w, c, o: stack(c, f"environment/detach/{w.shared.environment_id}/"),
    ),
    (
        Verb.SHARED_ENVIRONMENT_DELETED,
        "Azure",
        "It was attached to Network",
        lambda w, c, o: shared(w, c, "delete/"),
    ),
    (
        Verb.STATE_REVOKED,
        NETWORK,
        "Old network",
        lambda w, c, o: stack(c, f"dependencies/readers/{w.grant.pk}/remove/"),
    ),
    (
        Verb.STATE_GRANTED,
        NETWORK,
        "Old network, tracked runs; confirmed for the code of Old network",
        lambda w, c, o: grant(w, c),
    ),
    (
        Verb.STACK_CHANGED,
        NETWORK,
        "No longer after Old network",
        lambda w, c, o: stack(c, f"dependencies/{w.dependency.pk}/remove/"),
    ),
    (
        Verb.STATE_UNLOCKED,
        NETWORK,
        "Run 2 held the lock and was failed",
        lambda w, c, o: stack(c, "state/unlock/", lock_id="a-lock"),
    ),
    (Verb.RUN_APPROVED, RUN, "Go", lambda w, c, o: approve(w, c)),
    (
        Verb.RUN_CONFIRMED,
        RUN,
        "Go",
        lambda w, c, o: act(w, c, State.UNCONFIRMED, "confirm"),
    ),
    (
        Verb.RUN_DISCARDED,
        RUN,
        "Go",
        lambda w, c, o: act(w, c, State.UNCONFIRMED, "discard"),
    ),
    (
        Verb.RUN_CANCELED,
        RUN,
        "Go",
        lambda w, c, o: act(w, c, State.QUEUED, "cancel"),
    ),
    (
        Verb.RUN_RETRIED,
        "Run 2 of Network",
        "Go",
        lambda w, c, o: stack(c, "runs/2/act/", action="retry", note="Go"),
    ),
    (
        Verb.RUN_TRIGGERED,
        "Run 3 of Network",
        "Plan and apply; targets module.network; Now",
        lambda w, c, o: trigger(w, c),
    ),
    (
        Verb.MODULE_CHECKED_AGAIN,
        "Check of fabrikam/network/azurerm at ffffffff",
        "",
        lambda w, c, o: c.post(f"{w.check.get_absolute_url()}again/"),
    ),
    (
        Verb.SCHEDULES_CHANGED,
        NETWORK,
        "Drift detection: 0 6 * * MON-FRI, Europe/Berlin was added",
        lambda w, c, o: stack(c, "schedules/", **DAILY),
    ),
    (
        Verb.SCHEDULES_CHANGED,
        NETWORK,
        "Drift detection: 0 6 * * MON-FRI, Europe/Berlin was changed",
        lambda w, c, o: stack(c, f"schedules/{w.schedule.pk}/", **DAILY),
    ),
    (
        Verb.SCHEDULES_CHANGED,
        NETWORK,
        "Drift detection: 0 6 * * *, Europe/Berlin was removed",
        lambda w, c, o: stack(c, f"schedules/{w.schedule.pk}/remove/"),
    ),
    (
        Verb.PULL_REQUESTS_PLANNED,
        NETWORK,
        "1 pull request",
        lambda w, c, o: plan_older(c),
    ),
    (
        Verb.MODULE_CREATED,
        "stackhook/dns/azurerm",
        "Platform Team/infrastructure",
        lambda w, c, o: create_module(w, c),
    ),
    (
        Verb.MODULE_CHANGED,
        MODULE,
        "Prefix of tags, tests may apply",
        lambda w, c, o: module(c, "edit/", **EDITED),
    ),
    (
        Verb.VERSION_YANKED,
        f"{MODULE} 1.0.0",
        "It leaks",
        lambda w, c, o: module(c, "versions/1.0.0/yank/", reason="It leaks"),
    ),
    (
        Verb.VERSION_RESTORED,
        f"{MODULE} 1.0.0",
        "Was yanked by alice: It leaks",
        lambda w, c, o: restore_version(c),
    ),
    (Verb.MODULE_DELETED, MODULE, "", lambda w, c, o: module(c, "delete/")),
    (Verb.PERSON_ADDED, "erin", "Admin", lambda w, c, o: add_person(c)),
    (
        Verb.PERSON_CHANGED,
        DAVE,
        "Admin, New password",
        lambda w, c, o: c.post(f"{PEOPLE}{w.person.pk}/", {"role": "admin", "password": SECRET}),
    ),
    (
        Verb.PERSON_CHANGED,
        "alice",
        "Own e-mail address",
        lambda w, c, o: c.post(f"{PEOPLE}my-address/", {"email": "alice@example.com"}),
    ),
    (
        Verb.PERSON_CHANGED,
        DAVE,
        "E-mail address",
        lambda w, c, o: c.post(
            f"{PEOPLE}{w.person.pk}/", {"role": "member", "email": "d@example.com"}
        ),
    ),
    (
        Verb.PERSON_CHANGED,
        DAVE,
        "No role",
        lambda w, c, o: c.post(f"{PEOPLE}{w.person.pk}/", {"role": ""}),
    ),
    (
        Verb.PERSON_CHANGED,
        "alice",
        "Own password",
        lambda w, c, o: c.post(
            "/password/",
            {"old_password": PASSWORD, "new_password1": SECRET, "new_password2": SECRET},
        ),
    ),
    (Verb.PERSON_REMOVED, DAVE, "", lambda w, c, o: c.post(f"{PEOPLE}{w.person.pk}/remove/")),
    (
        Verb.TEAM_CREATED,
        "Web",
        "People: alice, dave",
        lambda w, c, o: c.post(f"{PEOPLE}teams/new/", {"name": "Web", "people": "alice\ndave"}),
    ),
    (
        Verb.TEAM_CHANGED,
        "Operations",
        "People: nobody",
        lambda w, c, o: c.post(f"{PEOPLE}teams/{w.team.pk}/", {"name": "Operations"}),
    ),
    (
        Verb.TEAM_DELETED,
        "Ops",
        "People: dave",
        lambda w, c, o: c.post(f"{PEOPLE}teams/{w.team.pk}/delete/"),
    ),
    (
        Verb.TOKEN_CREATED,
        "alice",
        "Pipeline",
        lambda w, c, o: c.post("/tokens/", {"name": "Pipeline", "days": "30"}),
    ),
    (
        Verb.TOKEN_REVOKED,
        DAVE,
        "Laptop",
        lambda w, c, o: c.post(f"{PEOPLE}{w.person.pk}/tokens/{w.token.pk}/revoke/"),
    ),
]
# What changes the database alone
WITHOUT_PROVIDER = [
    one
    for one in DONE
    if (
        one[0] not in {Verb.RUN_TRIGGERED, Verb.MODULE_CREATED}
        and one[0].startswith(
            (
                *("edited", "reconciled", "replayed", "stack_", "env", "run_", "pull_", "person_"),
                "team_",
                "shared_",
                "schedules_",
                "module_",
                "version_",
            )
        )
    )
    or one[0] in {Verb.STATE_RESTORED, Verb.STATE_UPLOADED, Verb.STATE_UNLOCKED}
    or one[0] in {Verb.TOKEN_CREATED, Verb.TOKEN_REVOKED}
]
USER_FIELDS = ("username", "email", "password", "groups__name")
# What gives no entry: nothing was done
NOTHING: list[Act] = [
    lambda w, c, o: edit(w, c, {"token": "a wrong token", "name": w.integration.name}),
    lambda w, c, o: c.get(f"{VCS}{w.integration.pk}/reveal/"),
    lambda w, c, o: at(w, c, "deliveries/replay/"),
    lambda w, c, o: at(w, c, "hooks/keep/", project="gone"),
    lambda w, c, o: at(w, c, "hooks/leave/", project="gone"),
    lambda w, c, o: at(w, c, "hooks/test/", hook="1"),
    lambda w, c, o: at(w, c, "password/end/"),
    lambda w, c, o: stack(c, "edit/", name=""),
    lambda w, c, o: stack(c, "environment/", name="PATH", value="x"),
    lambda w, c, o: stack(c, "state/unlock/", lock_id="another"),
    lambda w, c, o: stack(c, "runs/1/act/", action="retry"),
    lambda w, c, o: stack(c, "runs/1/act/", action="allow"),
    lambda w, c, o: stack(c, "plan-older/"),
    lambda w, c, o: module(c, "edit/", branch="main", versions_from="x"),
    lambda w, c, o: module(c, "versions/1.0.0/yank/", reason=""),
    lambda w, c, o: module(c, "versions/1.0.0/restore/"),
    lambda w, c, o: stack(c, f"forks/{w.fork.source_sha}/"),
    lambda w, c, o: c.post(f"{PEOPLE}{w.person.pk}/", {"role": "member"}),
    lambda w, c, o: c.post(f"{PEOPLE}{w.person.pk}/", {"role": "member", "password": "1"}),
]


def at(world: World, client: Client, path: str, **typed: str) -> Any:
    return client.post(f"{VCS}{world.integration.pk}/{path}", typed)


def end_overlap(world: World, client: Client) -> Any:
    WebhookSecret.objects.create(
        integration=world.integration, digest="d", value="v", valid_from=world.integration.linked_at
    )
    return at(world, client, "password/end/", mark=world.integration.password_mark)


def try_hook(world: World, client: Client) -> Any:
    hook, _ = Subscription.objects.get_or_create(
        integration=world.integration, external_id="h", event_type="git.push", project_id=""
    )
    return at(world, client, "hooks/test/", hook=str(hook.pk))


def edit(world: World, client: Client, changes: dict[str, str]) -> Any:
    one = world.integration
    typed = {"name": one.name, "token_expires_on": str(one.token_expires_on)}
    if "token" not in changes:
        typed["name"] = "Ours"
    return client.post(f"{VCS}{one.pk}/edit/", typed | changes)


def replay(world: World, client: Client, path: str) -> Any:
    Delivery.objects.get_or_create(
        pk=7, defaults={"integration": world.integration, "outcome": "no_run", "body": b"{}"}
    )
    return client.post(f"{VCS}{world.integration.pk}/{path}", {"delivery": "7"})


def stack(client: Client, path: str, **typed: str) -> Any:
    return client.post(f"/stacks/network/{path}", typed)


def backend(world: World, client: Client) -> Any:
    Run.objects.update(state=State.FINISHED)
    return stack(client, "backend/", tool="opentofu", backend="own")


def restore_state(world: World, client: Client) -> Any:
    StateLock.objects.all().delete()
    StateVersion.objects.all().delete()
    for number in (1, 2):
        content = b'{"version": 4, "serial": 1, "lineage": "a"}'
        make_state_version(world.run, number, content)
    return stack(client, "state/versions/1/restore/", name="Network")


def upload_state(world: World, client: Client) -> Any:
    world.stack.state_versions.all().delete()
    StateLock.objects.all().delete()
    content = b'{"version": 4, "serial": 7, "lineage": "a", "resources": []}'
    path = "/stacks/network/state/upload/"
    client.post(path, {"state": SimpleUploadedFile("a", content)})
    return client.post(f"{path}confirm/", {"digest": digest(content)})


def approve(world: World, client: Client) -> Any:
    Stack.objects.update(approvals_needed=2)
    return act(world, client, State.UNCONFIRMED, "confirm")


def act(world: World, client: Client, state: State, action: str) -> Any:
    Run.objects.filter(pk=world.run.pk).update(state=state)
    return stack(client, "runs/1/act/", action=action, note="Go")


def trigger(world: World, client: Client) -> Any:
    world.stack.repository = world.integration.repositories.get(name="infrastructure")
    world.stack.save()
    read_head(world.stack)
    world.stack.refresh_from_db()
    about = {"head": world.stack.head_sha, "more_targets": "module.network", "note": "Now"}
    return stack(client, "runs/new/", kind="tracked", operation="apply", **about)


def grant(world: World, client: Client) -> Any:
    StateGrant.objects.all().delete()
    typed = {"reader": str(world.detached.pk)}
    page = stack(client, "dependencies/readers/add/", **typed).content.decode()
    shown = page.partition('name="destinations" value="')[2].partition('"')[0]
    typed |= {"destinations": shown, "confirmed": "on"}
    return stack(client, "dependencies/readers/add/", **typed)


def shared(world: World, client: Client, path: str, **typed: str) -> Any:
    return client.post(f"{SHARED}{world.shared.environment_id}/{path}", typed)


def plan_older(client: Client) -> Any:
    Stack.objects.update(plans_older=False)
    return stack(client, "plan-older/")


def create_module(world: World, client: Client) -> Any:
    named = {"name": "dns", "system": "azurerm", "namespace": "stackhook"}
    typed = source(world.integration, step="3") | named | {"versions_from": "tags"}
    return client.post("/modules/new/", typed)


def module(client: Client, path: str, **typed: str) -> Any:
    return client.post(f"/modules/{MODULE}/{path}", typed)


def restore_version(client: Client) -> Any:
    ModuleVersion.objects.update(
        yanked_at=timezone.now(), yanked_by_name="alice", yanked_because="It leaks"
    )
    return module(client, "versions/1.0.0/restore/")


def add_person(client: Client) -> Any:
    typed = {"username": "erin", "role": "admin", "password1": SECRET, "password2": SECRET}
    return client.post(f"{PEOPLE}add/", typed)


@pytest.mark.on_postgresql
@pytest.mark.parametrize(("verb", "thing", "note", "do"), DONE)
def test_what_is_done_is_in_the_log(
    world: World,
    admin: Client,
    organization: Organization,
    verb: Verb,
    thing: str,
    note: str,
    do: Act,
) -> None:
    before = timezone.now()
    assert do(world, admin, organization).status_code in {200, 302}
    [line] = log()
    assert (line.person, line.get_verb_display(), line.thing, line.note) == (
        "alice",
        verb.label,
        thing,
        note,
    )
    assert before <= line.at <= timezone.now()


@pytest.mark.parametrize(("verb", "thing", "note", "do"), WITHOUT_PROVIDER)
def test_what_cant_be_logged_is_not_done(
    world: World,
    admin: Client,
    organization: Organization,
    monkeypatch: pytest.MonkeyPatch,
    verb: Verb,
    thing: str,
    note: str,
    do: Act,
) -> None:
    def fail(*args: object, **details: object) -> None:
        raise OperationalError("the disk is full")

    before: list[object] = []
    post = admin.post

    def watched(*args: Any, **details: Any) -> Any:
        before[:] = rows()
        return post(*args, **details)

    monkeypatch.setattr(admin, "post", watched)
    monkeypatch.setattr(AuditEntry, "save", fail)
    assert do(world, admin, organization).status_code == 503
    assert rows() == before


def rows() -> list[object]:
    """Return all that those who do something may change."""
    of_stacks = (Repository, Stack, StackVariable, StateLock, Run, RunAction)
    of_modules = (Module, ModuleVersion, Check)
    models = (Integration, Delivery, *of_stacks, *of_modules, PersonalToken)
    of_people = list(User.objects.order_by("pk").values(*USER_FIELDS))
    return [*(list(model.objects.order_by("pk").values()) for model in models), of_people]


@pytest.mark.on_postgresql
def test_who_was_not_the_one_to_unlink_is_not_in_the_log(
    world: World, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscriptions = AzureDevOpsClient.subscriptions

    def read_as_somebody_unlinks(client: AzureDevOpsClient) -> Any:
        monkeypatch.setattr(AzureDevOpsClient, "subscriptions", subscriptions)
        unlink(Integration.objects.get(pk=world.integration.pk))
        return subscriptions(client)

    monkeypatch.setattr(AzureDevOpsClient, "subscriptions", read_as_somebody_unlinks)
    assert at(world, admin, "unlink/").status_code == 302
    assert not Integration.objects.linked().exists()
    assert log() == []


def test_a_token_that_was_not_compared_is_not_said_to_do_less(
    world: World, admin: Client, organization: Organization
) -> None:
    edit(world, admin, {"token": organization.add_token(), "replace_anyway": "on"})
    assert log()[-1].note == "Replaced anyway."


def test_linking_is_in_the_log(admin: Client, organization: Organization) -> None:
    typed = {"organization_url": organization.url, "token": organization.add_token()}
    admin.post(f"{VCS}azure-devops/set-up/", typed)
    [line] = log()
    assert (line.person, line.get_verb_display(), line.thing) == ("alice", "Linked", OURS)
    admin.post(f"{VCS}azure-devops/set-up/", typed)  # it is linked already
    assert len(log()) == 1


def test_a_test_that_fails_is_in_the_log_with_its_cause(
    world: World, admin: Client, organization: Organization
) -> None:
    organization.tokens.clear()
    at(world, admin, "test/")
    [line] = log()
    assert line.get_verb_display() == "Tested"
    assert "refused the token" in line.note


@pytest.mark.on_postgresql
def test_no_other_verb_is_stored(world: World, admin: Client) -> None:
    at(world, admin, "reveal/")
    with pytest.raises(IntegrityError), transaction.atomic():
        AuditEntry.objects.update(verb="looked")


def test_each_verb_is_recorded_by_some_page() -> None:
    have_tests_of_their_own = {
        *(Verb.LINKED, Verb.FORK_ALLOWED, Verb.NOTIFICATION_RESENT),
        *(Verb.CHANNEL_CREATED, Verb.CHANNEL_CHANGED, Verb.CHANNEL_DELETED),
    }
    assert {verb for verb, *_ in DONE} | have_tests_of_their_own == set(Verb)


@pytest.mark.parametrize("do", NOTHING)
def test_what_was_not_done_is_not_in_the_log(
    world: World, admin: Client, organization: Organization, do: Act
) -> None:
    do(world, admin, organization)
    assert log() == []


def test_what_members_do_is_in_it_and_that_they_were_refused(world: World, member: Client) -> None:
    at(world, member, "reveal/")
    stack(member, "environment/", name="TF_VAR_a", value="b")
    assert [(line.person, line.get_verb_display()) for line in log()] == [
        ("bob", "Changed an environment"),
        ("bob", "Access refused"),
    ]


@pytest.mark.on_postgresql
def test_nothing_in_it_is_secret(
    world: World, admin: Client, organization: Organization, token: str
) -> None:
    password = world.integration.read_webhook_secret().value
    new_token = organization.add_token()
    edit(world, admin, {"token": new_token})
    for verb, _, _, do in DONE:
        if verb not in {Verb.UNLINKED, Verb.STACK_DELETED}:
            do(world, admin, organization)
    stored = repr(list(AuditEntry.objects.values()))
    page = words(admin.get(LOG))
    for secret in (SECRET, PASSWORD, token, new_token, password, product.FIELD_ENCRYPTION_KEY):
        assert secret not in stored
        assert secret not in page


# Who and what is gone


@pytest.mark.on_postgresql
def test_the_name_stays_when_the_person_is_removed(
    world: World, admin: Client, alice: User
) -> None:
    at(world, admin, "reveal/")
    User.objects.create_superuser("root")
    alice.delete()
    root = signed_in(User.objects.get(username="root"))
    assert "alice Revealed the webhook password" in words(root.get(LOG))
    assert "alice Revealed the webhook password" in words(root.get(f"{VCS}{world.integration.pk}/"))


def test_ones_own_account_leads_to_no_page_that_one_may_not_open(
    world: World, admin: Client, alice: User
) -> None:
    admin.post(f"{PEOPLE}my-address/", {"email": "alice@example.com"})
    assert [line.page for line in as_read_by("alice")] == [""]
    assert [line.page for line in as_read_by("bob")] == [f"{PEOPLE}{alice.pk}/"]
    assert f'href="{PEOPLE}{alice.pk}/"' not in admin.get(LOG).content.decode()


@pytest.mark.on_postgresql
def test_each_thing_leads_to_its_page_as_long_as_it_has_one(world: World, admin: Client) -> None:
    at(world, admin, "reveal/")
    stack(admin, "environment/", name="TF_VAR_a", value="b")
    act(world, admin, State.QUEUED, "cancel")
    admin.post(f"{PEOPLE}{world.person.pk}/", {"role": ""})
    pages = [
        f"{PEOPLE}{world.person.pk}/",
        "/stacks/network/runs/1/",
        "/stacks/network/",
        f"{VCS}{world.integration.pk}/",
    ]
    assert [line.page for line in log()] == pages
    for page in pages:
        assert f'href="{page}"' in admin.get(LOG).content.decode()
        assert admin.get(page).status_code == 200
    unlink(world.integration)
    world.person.delete()
    Stack.objects.all().delete()
    ledger = f"{VCS}{world.integration.pk}/deliveries/"
    assert [line.page for line in log()] == ["", "", "", ledger]
    assert admin.get(ledger).status_code == 200
    assert "Run 1 of Network" in words(admin.get(LOG))


# The page


def fill(count: int) -> None:
    """Make up entries, of three people about many things."""
    integration, made = Integration.objects.first(), timezone.now() - timedelta(days=1)
    assert integration
    stacks = [
        Stack.objects.filter(name=f"Stack {number}").first()
        or make_stack(integration, f"Stack {number}")
        for number in range(20)
    ]
    verbs = list(Verb)
    AuditEntry.objects.bulk_create(
        [
            AuditEntry(
                verb=verbs[number % len(verbs)],
                person=("alice", "bob", "Zoë")[number % 3],
                thing_kind="stacks.stack",
                thing_id=stacks[number % 20].pk,
                thing=f"Stack {number % 20}",
                note=f"Number {number}",
                at=made,
                until=made,
            )
            for number in range(count)
        ],
        batch_size=1000,
    )


def test_an_empty_log_says_what_comes(admin: Client) -> None:
    assert "Nobody did anything yet." in words(admin.get(LOG))


def test_only_admins_read_it(member: Client, charlie: User, stranger: Client) -> None:
    assert member.get(LOG).status_code == 403
    assert signed_in(charlie).get(LOG).status_code == 403
    assert stranger.get(LOG)["Location"].startswith("/sign-in/")
    assert "Audit log" not in member.get(VCS).content.decode()


@pytest.mark.on_postgresql
@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", range(120)),
        ("person=bob", range(1, 120, 3)),
        ("person=zo", range(2, 120, 3)),
        ("verb=edited", range(1, 120, len(Verb))),
        ("thing=stack+7", range(7, 120, 20)),
        ("person=alice&verb=linked&thing=Stack", range(0, 120, lcm(3, len(Verb)))),
        ("person=nobody", []),
        ("verb=nonsense", range(120)),
        ("integration=nonsense", range(120)),
        ("integration=99999999999999999999", range(120)),
        ("before=nonsense&person=%00", range(120)),
    ],
)
def test_it_is_narrowed_by_person_verb_and_thing_on_every_page(
    admin: Client, linked: Integration, query: str, numbers: Any
) -> None:
    fill(120)
    found, path = [], f"{LOG}?{query}"
    while path:
        response = admin.get(path)
        found += [int(line.note.removeprefix("Number ")) for line in response.context["log"]]
        older = re.search(r'href="(\?[^"]*)">Older', response.content.decode())
        path = older[1].replace("&amp;", "&") if older else ""
        path = path and f"{LOG}{path}"
    assert found == sorted(numbers, reverse=True)
    assert ("No entry matches." in words(response)) == (not found)


def test_the_list_alone_is_answered_to_htmx(admin: Client, linked: Integration) -> None:
    fill(3)
    part = admin.get(LOG, headers={"HX-Request": "true"})
    assert "<h1" not in part.content.decode()
    assert "Number 2" in part.content.decode()
    assert "HX-Request" in part["Vary"]


@pytest.mark.on_postgresql
def test_ten_thousand_entries_cost_as_many_queries_as_ten(
    admin: Client, linked: Integration
) -> None:
    pages = [LOG, f"{LOG}?person=bob", f"{LOG}?verb=tested&thing=stack", linked.get_absolute_url()]
    fill(10)
    for page in pages:  # what is remembered of models' kinds is read once
        admin.get(page)
    few = [queries(admin, page) for page in pages]
    fill(9_990)
    assert entries().count() == 10_000
    assert [queries(admin, page) for page in pages] == few
    assert max(few[:3]) <= 6


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


@pytest.mark.on_postgresql
def test_the_page_of_an_integration_has_what_was_done_to_it(world: World, admin: Client) -> None:
    page = f"{VCS}{world.integration.pk}/"
    assert "Nothing yet. Tests, edits" in words(admin.get(page))
    stack(admin, "environment/", name="TF_VAR_a", value="b")
    at(world, admin, "reveal/")
    joined = store_integration("old", unlinked_at=timezone.now())
    joined.endpoints.update(integration=world.integration)
    AuditEntry.objects.filter(thing=OURS).update(thing_id=joined.pk)
    at(world, admin, "test/")
    own = entries_about(Integration.objects.filter(pk=world.integration.pk))
    assert [entry.thing_id for entry in own] == [world.integration.pk]
    shown = admin.get(page).context["log"]
    assert [line.get_verb_display() for line in shown] == [
        "Tested",
        "Revealed the webhook password",
    ]
    Integration.objects.filter(pk=world.integration.pk).update(organization_name="renamed")
    another = store_integration("renamed-too")
    admin.post(f"{VCS}{another.pk}/test/")
    [path] = re.findall(r'href="([^"]*)"[^>]*>Show all in the audit log', text_of(admin.get(page)))
    everything = admin.get(path)
    assert [line.get_verb_display() for line in everything.context["log"]] == [
        line.get_verb_display() for line in shown
    ]
    assert "What was done to Azure DevOps · renamed. Show all" in words(everything)
    revealed = admin.get(f"{path}&verb=password_revealed")
    assert [line.get_verb_display() for line in revealed.context["log"]] == [
        "Revealed the webhook password"
    ]
    assert f'name="integration" value="{world.integration.pk}"' in text_of(revealed)


def text_of(response: Any) -> str:
    return str(response.content.decode())
