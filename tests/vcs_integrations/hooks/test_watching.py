"""Service hooks that manage themselves, against an Azure DevOps that does what it can."""

from collections.abc import Callable
from datetime import timedelta
from unittest import mock

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from tests.builders import make_integration
from tests.emulator import Emulator
from tests.emulator.model import Organization, Project
from tests.emulator.model import Subscription as RemoteHook
from tests.killing import killed_at
from vcs_integrations.connections.linking import replace_token
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.hooks.plan import read_hooks
from vcs_integrations.hooks.watching import prune_record, watch, watch_next
from vcs_integrations.models import HookAction, HookWatch, Integration, NoticeMail
from vcs_integrations.organizations.refreshing import refresh
from vcs_integrations.providers import PROVIDERS
from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.base import INTERACTIVE, Hook, HookStatus, RemoteSubscription

EVENTS = list(PROVIDERS["azure_devops"].events)


@pytest.fixture
def kept(integration: Integration, project: Project) -> Integration:
    """An organization whose one project's hooks are kept, and made."""
    look_after(integration)
    integration.projects.update(keeps_hooks=True)
    look_after(integration)
    return integration


def look_after(integration: Integration) -> None:
    integration.projects.update(retry_at=None)
    watch(Integration.objects.get(pk=integration.pk).hook_watch)


def states(integration: Integration) -> dict[str, list[str]]:
    """The states of the hooks by event, as they are stored."""
    rows = integration.subscriptions.present()
    return {event: [row.state for row in rows if row.event_type == event] for event in EVENTS}


ALL_WELL = {event: ["ok"] for event in EVENTS}


def newest(integration: Integration) -> HookAction:
    action = integration.hook_actions.first()
    assert action
    return action


def test_nothing_is_made_in_a_project_whose_hooks_nobody_asked_for(
    integration: Integration, organization: Organization
) -> None:
    look_after(integration)
    assert [one.name for one in integration.projects.all()] == ["Platform Team"]
    assert organization.subscriptions == []


def test_hooks_are_made_as_azure_devops_wants_them(
    kept: Integration, organization: Organization, project: Project
) -> None:
    assert sorted(hook.event_type for hook in organization.subscriptions) == sorted(EVENTS)
    for hook in organization.subscriptions:
        assert hook.resource_version == "1.0"
        assert hook.publisher_inputs["projectId"] == project.id
        inputs = hook.consumer_inputs
        assert inputs["url"] == kept.endpoint_url
        assert inputs["basicAuthPassword"] == kept.read_webhook_secret().value
        assert inputs["resourceDetailsToSend"] == "all"
        assert inputs["messagesToSend"] == "all"
        assert inputs["detailedMessagesToSend"] == "all"
    assert states(kept) == ALL_WELL
    assert [action.reason for action in kept.hook_actions.all()] == ["There was none"] * 4


def test_what_is_well_is_left_alone(kept: Integration, organization: Organization) -> None:
    before = [hook.id for hook in organization.subscriptions]
    look_after(kept)
    assert [hook.id for hook in organization.subscriptions] == before
    assert kept.hook_actions.count() == 4


def test_hooks_made_by_hand_count(
    integration: Integration, organization: Organization, project: Project
) -> None:
    password = integration.read_webhook_secret().value
    organization.add_subscription(project, "git.push", integration.endpoint_url, password)
    look_after(integration)
    integration.projects.update(keeps_hooks=True)
    look_after(integration)
    assert states(integration) == ALL_WELL
    assert integration.subscriptions.get(event_type="git.push").is_ours is False


def disable(hook: RemoteHook, person: str) -> None:
    hook.edit(user=person)
    hook.set_status("disabledByUser")


Breakage = Callable[[Organization, RemoteHook], object]
BROKEN: dict[str, tuple[Breakage, str, str]] = {
    "on probation": (
        lambda _, hook: hook.set_status("onProbation"),
        "recreated",
        "It is on probation: its events are dropped",
    ),
    "disabled by a person": (
        lambda _, hook: disable(hook, "Bo Builder"),
        "recreated",
        "It was disabled by Bo Builder",
    ),
    "disabled by the system": (
        lambda _, hook: hook.set_status("disabledBySystem"),
        "recreated",
        "It was disabled after failures",
    ),
    "its owner left": (
        lambda _, hook: hook.set_status("disabledByInactiveIdentity"),
        "recreated",
        "It was disabled: its owner left or lost rights. Its owner is Ann Admin",
    ),
    "another URL": (
        lambda _, hook: hook.edit(url="https://elsewhere.example.com/"),
        "corrected",
        "It posts to another URL than the webhook endpoint",
    ),
    "filtered": (
        lambda _, hook: hook.edit(publisher_inputs={"branch": "refs/heads/main"}),
        "corrected",
        "It leaves events out: it is limited by branch",
    ),
    "reduced": (
        lambda _, hook: hook.edit(resourceDetailsToSend="minimal"),
        "corrected",
        "It sends reduced details",
    ),
    "without messages": (
        lambda _, hook: hook.edit(messagesToSend="none"),
        "corrected",
        "It sends reduced details",
    ),
    "another version": (
        lambda _, hook: setattr(hook, "resource_version", "2.0"),
        "corrected",
        "It asks for another resource version than 1.0",
    ),
    "removed": (
        lambda organization, hook: organization.unsubscribe(hook),
        "created",
        "Somebody removed it",
    ),
}


@pytest.mark.parametrize("breakage", BROKEN)
@pytest.mark.parametrize("event", EVENTS)
def test_after_one_cycle_the_hook_is_right_and_the_record_names_the_reason(
    kept: Integration, organization: Organization, event: str, breakage: str
) -> None:
    break_it, kind, reason = BROKEN[breakage]
    hook = next(one for one in organization.subscriptions if one.event_type == event)
    break_it(organization, hook)
    look_after(kept)
    action = newest(kept)
    assert (action.kind, action.event_type, action.reason) == (kind, event, reason)
    assert kept.hook_actions.count() == 5
    assert states(kept) == ALL_WELL
    assert len(organization.subscriptions) == 4
    look_after(kept)
    assert kept.hook_actions.count() == 5


def test_a_dead_hook_made_by_hand_is_recreated_where_hooks_are_kept(
    kept: Integration, organization: Organization, project: Project
) -> None:
    ours = next(one for one in organization.subscriptions if one.event_type == "git.push")
    organization.unsubscribe(ours)
    password = kept.read_webhook_secret().value
    by_hand = organization.add_subscription(project, "git.push", kept.endpoint_url, password)
    by_hand.set_status("disabledBySystem")
    look_after(kept)
    assert organization.subscription(by_hand.id) is None
    assert states(kept) == ALL_WELL


@pytest.mark.on_postgresql
def test_of_two_that_send_the_same_ours_is_removed(
    kept: Integration, organization: Organization, project: Project
) -> None:
    password = kept.read_webhook_secret().value
    by_hand = organization.add_subscription(project, "git.push", kept.endpoint_url, password)
    look_after(kept)
    assert organization.subscription(by_hand.id)
    assert states(kept) == ALL_WELL
    assert newest(kept).reason == "Another hook delivers the same event"


@pytest.mark.on_postgresql
def test_what_the_owner_may_not_do_is_said_once_and_tried_again_rarely(
    integration: Integration, organization: Organization, emulator: Emulator
) -> None:
    organization.deny("Ann Admin", "edit_subscriptions")
    look_after(integration)
    integration.projects.update(keeps_hooks=True)
    for _ in range(3):
        look_after(integration)
    ours = integration.projects.get()
    assert (
        ours.refusal_cause
        == "The token's owner may not create or change service hooks of this project."
    )
    assert "Project settings → Permissions → Project Administrators" in ours.refusal_fix
    assert [action.kind for action in integration.hook_actions.all()] == ["refused"]

    emulator.reset_requests()
    watch(Integration.objects.get(pk=integration.pk).hook_watch)  # not due for a day
    assert emulator.request_counts()["POST hooks/subscriptions"] == 0
    organization.allow("Ann Admin", "edit_subscriptions")
    look_after(integration)
    assert states(integration) == ALL_WELL
    assert integration.projects.get().refusal_cause == ""


@pytest.mark.on_postgresql
def test_with_a_new_token_what_was_refused_is_tried_at_once(
    integration: Integration, organization: Organization
) -> None:
    organization.deny("Ann Admin", "edit_subscriptions")
    integration.projects.update(keeps_hooks=True)
    watch(Integration.objects.get().hook_watch)
    assert organization.subscriptions == []
    token = organization.add_token({"vso.code_write"}, user="Bo Builder")
    replace_token(Integration.objects.get(), token)
    assert watch_next()
    assert len(organization.subscriptions) == 4


@pytest.mark.on_postgresql
def test_hooks_that_the_token_may_not_see_are_not_made_twice(
    kept: Integration, organization: Organization
) -> None:
    organization.deny("Ann Admin", "view_subscriptions")
    look_after(kept)
    assert "but not see them" in kept.projects.get().refusal_cause
    there = len(organization.subscriptions)
    look_after(kept)
    assert len(organization.subscriptions) == there
    organization.allow("Ann Admin", "view_subscriptions")
    look_after(kept)
    look_after(kept)
    assert states(kept) == ALL_WELL
    assert len(organization.subscriptions) == 4


@pytest.mark.on_postgresql
def test_killed_at_any_point_it_leaves_no_double_and_nothing_undone(
    transactional_db: None, kept: Integration, organization: Organization
) -> None:
    """One hook was removed, one is on probation and one posts elsewhere."""
    point, ended = 0, False
    while not ended:
        removed, dead, lost, _ = organization.subscriptions
        organization.unsubscribe(removed)
        dead.set_status("onProbation")
        lost.edit(url="https://elsewhere.example.com/")
        with killed_at(point, also_after_calls=True):
            look_after(kept)
            ended = True
        look_after(kept)
        look_after(kept)
        assert states(kept) == ALL_WELL, f"killed at {point}"
        assert len(organization.subscriptions) == 4, f"killed at {point}"
        point += 3
    assert point > 60


@pytest.mark.on_postgresql
def test_one_worker_at_a_time_watches_an_organization(
    integration: Integration,
) -> None:
    now = timezone.now()
    HookWatch.objects.update(due_at=now, lease_until=now + timedelta(minutes=1))
    assert not watch_next()
    HookWatch.objects.update(lease_until=now - timedelta(seconds=1))
    assert watch_next()
    assert not watch_next()
    found = HookWatch.objects.get()
    assert found.due_at
    assert found.due_at > now + timedelta(minutes=4)
    assert found.lease_until is None


@pytest.mark.on_postgresql
def test_what_is_asked_for_meanwhile_is_done_next(integration: Integration) -> None:
    claimed = HookWatch.objects.get()
    Integration.objects.make_hooks_due()
    watch(claimed)
    assert watch_next()


def test_a_provider_that_is_down_is_retried_automatically(
    integration: Integration, emulator: Emulator
) -> None:
    emulator.faults.add("unavailable", path="hooks")
    assert watch_next()
    found = Integration.objects.get()
    assert "Azure DevOps is down or in trouble" in found.hooks_problem
    assert found.hook_watch.due_at
    assert timezone.now() < found.hook_watch.due_at < timezone.now() + timedelta(minutes=1)
    emulator.faults.clear()
    watch(found.hook_watch)
    assert Integration.objects.get().hooks_problem == ""


def test_another_organization_is_not_touched(
    kept: Integration, organization: Organization, project: Project
) -> None:
    elsewhere = organization.add_subscription(
        project, "git.push", "https://other.example/", "secret"
    )
    elsewhere.set_status("disabledBySystem")
    look_after(kept)
    assert organization.subscription(elsewhere.id)
    assert states(kept) == ALL_WELL


def test_unlinking_leaves_none(kept: Integration, organization: Organization) -> None:
    left_over, failure = unlink(kept)
    assert (left_over, failure) == ([], None)
    assert organization.subscriptions == []


# What people are notified of


def subjects(integration: Integration) -> list[str]:
    return [notice.subject for notice in integration.notices.unfixed()]


@pytest.mark.on_postgresql
def test_what_is_refused_is_reported_once_until_it_is_repaired(
    integration: Integration, organization: Organization
) -> None:
    organization.deny("Ann Admin", "edit_subscriptions")
    integration.projects.update(keeps_hooks=True)
    for _ in range(2):
        look_after(integration)
    expected = ["The service hooks of Platform Team in Azure DevOps · fabrikam can't be kept"]
    assert subjects(integration) == expected
    organization.allow("Ann Admin", "edit_subscriptions")
    look_after(integration)
    assert subjects(integration) == []


def test_a_broken_hook_that_nobody_keeps_is_reported(
    integration: Integration, organization: Organization, project: Project
) -> None:
    hook = organization.add_subscription(project, "git.push", integration.endpoint_url, "x")
    hook.set_status("onProbation")
    look_after(integration)
    assert organization.subscription(hook.id)  # it is left alone
    expected = ["A service hook of Platform Team in Azure DevOps · fabrikam does not deliver"]
    assert subjects(integration) == expected
    hook.set_status("enabled")
    look_after(integration)
    assert subjects(integration) == []


def long_ago(integration: Integration) -> None:
    """Let the linking and the repairing be long ago."""
    day = timezone.now() - timedelta(days=1)
    Integration.objects.update(linked_at=day)
    integration.projects.update(repaired_at=day)


@pytest.mark.on_postgresql
def test_a_project_that_used_to_deliver_and_is_silent_is_reported(kept: Integration) -> None:
    repository = kept.repositories.get()
    hour = timedelta(hours=1)
    repository.due_at = timezone.now() + hour
    repository.save()
    long_ago(kept)
    kept.deliveries.create(
        outcome="run",
        event_type="git.push",
        project_id=repository.project_id,
        received_at=timezone.now() - 3 * hour,
        body=b"{}",
    )
    look_after(kept)
    assert subjects(kept) == []  # nothing was pushed since
    kept.repositories.update(pushed_at=timezone.now() - hour)
    look_after(kept)
    assert subjects(kept) == [
        "No webhook comes from Platform Team in Azure DevOps · fabrikam any more"
    ]
    assert kept.projects.get().silent_since
    kept.deliveries.create(
        outcome="run", event_type="git.push", project_id=repository.project_id, body=b"{}"
    )
    look_after(kept)
    assert subjects(kept) == []
    assert kept.projects.get().silent_since is None


def test_a_project_that_never_delivered_is_not_silent(kept: Integration) -> None:
    kept.repositories.update(due_at=timezone.now(), pushed_at=timezone.now() - timedelta(days=1))
    look_after(kept)
    assert subjects(kept) == []


def test_hooks_that_break_again_and_again_are_reported(
    kept: Integration, organization: Organization
) -> None:
    for _ in range(3):
        assert subjects(kept) == []
        hook = next(one for one in organization.subscriptions if one.event_type == "git.push")
        hook.set_status("onProbation")
        look_after(kept)
    expected = ["The service hooks of Platform Team in Azure DevOps · fabrikam keep breaking"]
    assert subjects(kept) == expected
    with time_machine.travel(timezone.now() + timedelta(days=2)):
        look_after(kept)
    assert subjects(kept) == []


@pytest.mark.on_postgresql
def test_what_was_done_long_ago_is_forgotten(kept: Integration) -> None:
    with time_machine.travel(timezone.now() + timedelta(days=89)):
        prune_record()
    assert kept.hook_actions.count() == 4
    with time_machine.travel(timezone.now() + timedelta(days=91)):
        prune_record()
    assert kept.hook_actions.count() == 0


@pytest.mark.parametrize("excuse", ["repaired since", "linked since", "left alone", "other events"])
def test_a_project_with_a_reason_is_not_silent(kept: Integration, excuse: str) -> None:
    long_ago(kept)
    hour = timedelta(hours=1)
    kept.repositories.update(due_at=timezone.now() + hour, pushed_at=timezone.now() - 2 * hour)
    event = "git.pullrequest.created" if excuse == "other events" else "git.push"
    kept.deliveries.create(
        outcome="run",
        event_type=event,
        project_id=kept.repositories.get().project_id,
        received_at=timezone.now() - 3 * hour,
        body=b"{}",
    )
    if excuse == "repaired since":
        kept.projects.update(repaired_at=timezone.now() - hour)
    elif excuse == "linked since":
        Integration.objects.update(linked_at=timezone.now() - hour)
    elif excuse == "left alone":
        kept.projects.update(is_left_alone=True)
    look_after(kept)
    assert subjects(kept) == []


def test_what_is_left_alone_has_no_notices(kept: Integration, organization: Organization) -> None:
    for _ in range(3):
        for hook in list(organization.subscriptions):
            organization.unsubscribe(hook)
        look_after(kept)
    assert len(subjects(kept)) == 1  # others keep removing them
    kept.projects.update(keeps_hooks=False, is_left_alone=True)
    look_after(kept)
    assert subjects(kept) == []


def test_a_notice_goes_with_the_hook_it_was_about(
    integration: Integration, organization: Organization, project: Project
) -> None:
    hook = organization.add_subscription(project, "git.push", integration.endpoint_url, "x")
    hook.set_status("disabledBySystem")
    look_after(integration)
    assert len(subjects(integration)) == 1
    organization.unsubscribe(hook)
    look_after(integration)
    assert subjects(integration) == []


# Trouble in one place


def test_one_project_in_trouble_does_not_hold_up_the_others(
    integration: Integration, organization: Organization, emulator: Emulator
) -> None:
    zoo = organization.add_project("Zoo")
    zoo.add_repository("animals", {"a": "1"})
    refresh(integration, INTERACTIVE)
    integration.projects.update(keeps_hooks=True)
    really = AzureDevOpsClient.create_subscription

    def create(client: AzureDevOpsClient, hook: Hook) -> str:
        if hook.project_id != zoo.id:
            emulator.faults.add("server-error", times=1)
        return really(client, hook)

    with mock.patch.object(AzureDevOpsClient, "create_subscription", create):
        assert watch_next()
    projects = {one.publisher_inputs["projectId"] for one in organization.subscriptions}
    assert projects == {zoo.id}
    assert "Azure DevOps is down or in trouble" in Integration.objects.get().hooks_problem


@pytest.mark.on_postgresql
def test_what_may_be_made_and_not_removed_is_made_and_recorded_in_one_cycle(
    integration: Integration, organization: Organization, project: Project
) -> None:
    password = integration.read_webhook_secret().value
    for event in EVENTS:
        by_hand = organization.add_subscription(project, event, integration.endpoint_url, password)
        by_hand.set_status("onProbation")
    organization.deny("Ann Admin", "delete_subscriptions")
    integration.projects.update(keeps_hooks=True)
    look_after(integration)
    assert all("ok" in found for found in states(integration).values())
    kinds = [action.kind for action in integration.hook_actions.all()]
    assert kinds.count("recreated") == 4
    assert kinds.count("refused") == 1


@pytest.mark.on_postgresql
def test_a_hook_that_was_made_unseen_is_forgotten_when_it_is_tried_again(
    admin: Client, kept: Integration, organization: Organization
) -> None:
    organization.deny("Ann Admin", "view_subscriptions")
    look_after(kept)
    unseen = kept.subscriptions.get(state="unseen")
    hook = organization.subscription(unseen.external_id)
    assert hook
    organization.unsubscribe(hook)  # by a person, in the provider's pages
    organization.allow("Ann Admin", "view_subscriptions")
    project = kept.projects.get().external_id
    admin.post(f"{kept.get_absolute_url()}hooks/keep/", {"project": project})
    watch(Integration.objects.get().hook_watch)
    assert states(kept) == ALL_WELL


def test_a_dead_hook_for_all_projects_is_left_to_whoever_made_it(
    kept: Integration, organization: Organization
) -> None:
    for hook in list(organization.subscriptions):
        if hook.event_type == "git.push":
            organization.unsubscribe(hook)
    everywhere = RemoteSubscription(
        "7d5ea9ab-0000-4000-8000-000000000000",
        "git.push",
        "",
        kept.endpoint_url,
        HookStatus.DISABLED_BY_SYSTEM,
    )
    really = AzureDevOpsClient.subscriptions
    with mock.patch.object(
        AzureDevOpsClient, "subscriptions", lambda client: [*really(client), everywhere]
    ):
        look_after(kept)
    assert states(kept)["git.push"] == ["disabled_by_system", "ok"]


@pytest.mark.on_postgresql
def test_what_was_read_before_unlinking_is_not_stored_after_it(
    kept: Integration, organization: Organization
) -> None:
    """An admin unlinks while a worker reads."""
    before = Integration.objects.get()
    client = before.client(INTERACTIVE)
    unlink(Integration.objects.get())
    read_hooks(before, client)
    assert not Integration.objects.get().subscriptions.present().exists()


@pytest.mark.on_postgresql
def test_who_says_leave_alone_meanwhile_is_heard(
    integration: Integration, organization: Organization
) -> None:
    organization.add_project("Zoo").add_repository("animals", {"a": "1"})
    refresh(integration, INTERACTIVE)
    integration.projects.update(keeps_hooks=True)
    really = AzureDevOpsClient.create_subscription

    def create(client: AzureDevOpsClient, hook: Hook) -> str:
        integration.projects.filter(name="Zoo").update(keeps_hooks=False)
        return really(client, hook)

    with mock.patch.object(AzureDevOpsClient, "create_subscription", create):
        look_after(integration)
    assert len(organization.subscriptions) == 4


@pytest.mark.on_postgresql
def test_what_was_lost_is_read_at_once(kept: Integration, organization: Organization) -> None:
    later = timezone.now() + timedelta(hours=1)
    kept.repositories.update(due_at=later)
    look_after(kept)
    assert kept.repositories.get().due_at == later
    organization.subscriptions[0].set_status("onProbation")
    look_after(kept)
    due_at = kept.repositories.get().due_at
    assert due_at
    assert due_at < later


def test_hooks_that_are_not_understood_are_left_alone(
    kept: Integration, organization: Organization
) -> None:
    organization.subscriptions[0].status = "paused"
    look_after(kept)
    assert len(organization.subscriptions) == 4
    assert kept.subscriptions.filter(state="unknown").count() == 1


@pytest.mark.on_postgresql
def test_linked_again_what_was_refused_is_tried_at_once(
    integration: Integration, organization: Organization, token: str
) -> None:
    organization.deny("Ann Admin", "edit_subscriptions")
    integration.projects.update(keeps_hooks=True)
    watch(Integration.objects.get().hook_watch)
    unlink(Integration.objects.get())
    organization.allow("Ann Admin", "edit_subscriptions")
    make_integration(organization.url, token)
    assert watch_next()
    assert len(organization.subscriptions) == 4


@pytest.mark.on_postgresql
def test_many_projects_are_reported_in_a_few_mails(
    integration: Integration, organization: Organization, alice: User, settings: Settings
) -> None:
    settings.SENDS_EMAIL = True
    User.objects.update(email="alice@example.com")
    for number in range(9):
        organization.add_project(f"Project {number}").add_repository("a", {"a": "1"})
    refresh(integration, INTERACTIVE)
    organization.deny("Ann Admin", "edit_subscriptions")
    integration.projects.update(keeps_hooks=True)
    look_after(integration)
    assert len(subjects(integration)) == 10
    assert NoticeMail.objects.count() == 3
    assert integration.notices.filter(text__contains="The same goes for 7 more").count() == 1
