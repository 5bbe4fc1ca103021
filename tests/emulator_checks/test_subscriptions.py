"""The life of a subscription: its five statuses, and changes behind one's back."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.emulator import Emulator
from tests.emulator.hook_rules import HookRuleError
from tests.emulator.model import SUBSCRIPTION_STATES, Subscription
from tests.emulator_checks.world import Receiver, World

HOOKS = "_apis/hooks/subscriptions"


@pytest.fixture
def hook(world: World, receiver: Receiver) -> Subscription:
    return world.organization.add_subscription(
        world.project, "git.push", receiver.url, password="s3cret"
    )


def put(world: World, hook: Subscription, **changes: Any) -> dict[str, Any]:
    """Send back what was read, as a client does, with the secret and some changes."""
    body = world.get(f"{HOOKS}/{hook.id}").json() | changes
    body["consumerInputs"] |= {"basicAuthPassword": "s3cret"}
    answer = world.call("PUT", f"{HOOKS}/{hook.id}", json=body)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


# Statuses


@pytest.mark.parametrize("status", SUBSCRIPTION_STATES)
def test_a_status_that_was_set_is_shown(world: World, hook: Subscription, status: str) -> None:
    hook.set_status(status)
    assert world.get(f"{HOOKS}/{hook.id}").json()["status"] == status
    assert world.get(HOOKS).json()["value"][0]["status"] == status


def test_no_other_status_can_be_set(hook: Subscription) -> None:
    with pytest.raises(ValueError, match="disabledByInactiveIdentity"):
        hook.set_status("disabled")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("enabled", "enabled"),
        ("disabledByUser", "enabled"),
        ("onProbation", "onProbation"),
        ("disabledBySystem", "disabledBySystem"),
        ("disabledByInactiveIdentity", "disabledByInactiveIdentity"),
    ],
)
def test_replacing_revives_only_what_a_person_disabled(
    world: World, hook: Subscription, before: str, after: str
) -> None:
    hook.set_status(before)
    assert put(world, hook, status="enabled")["status"] == after
    hook.set_status("enabled")
    assert put(world, hook, status="disabledByUser")["status"] == "disabledByUser"


@pytest.mark.parametrize("status", SUBSCRIPTION_STATES[1:])
def test_only_an_enabled_subscription_gets_new_events(
    world: World, hook: Subscription, receiver: Receiver, status: str
) -> None:
    hook.set_status(status)
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    assert receiver.received == []
    assert world.organization.notifications == []


def test_a_person_disables_and_enables_on_the_page(world: World, hook: Subscription) -> None:
    page = world.project.service_hooks_url
    for status, action in (("enabled", "disabledByUser"), ("disabledByUser", "enabled")):
        assert f'value="{action}"' in requests.get(page, timeout=9).text
        assert hook.status == status
        form = {"subscription": hook.id, "action": action}
        shown = requests.post(page, form, timeout=9)
        assert f'<span class="{"good" if action == "enabled" else "bad"}">{action}' in shown.text
    assert hook.status == "enabled"


# Probation


def fail_once(world: World, receiver: Receiver, answer: int) -> None:
    receiver.answers = [answer]
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    receiver.received.clear()


def test_a_failure_that_is_not_transient_puts_it_on_probation(
    world: World, hook: Subscription, sdk: Any, receiver: Receiver
) -> None:
    fail_once(world, receiver, 401)
    shown = sdk.get_service_hooks_client().get_subscription(hook.id)
    assert (shown.status, shown.probation_retries) == ("onProbation", "0")
    world.repository.push({"x": "lost"})
    world.emulator.wait_for_deliveries()
    assert receiver.received == []


def test_retries_that_run_out_put_it_on_probation(
    world: World, hook: Subscription, receiver: Receiver
) -> None:
    world.emulator.retry_scale = 1
    world.emulator.deliveries.hold()
    receiver.answers = [503] * 9
    world.repository.push({"x": "1"})
    world.emulator.deliveries.release()
    started = world.emulator.clock.now()
    world.emulator.clock.move(minutes=4)
    assert (len(receiver.received), hook.status) == (9, "onProbation")
    [logged] = world.organization.notifications
    assert logged.completed_date is not None
    assert timedelta(seconds=180) < logged.completed_date - started < timedelta(seconds=190)


def test_the_notification_that_failed_is_tried_seven_times_in_36_hours(
    world: World, hook: Subscription, receiver: Receiver
) -> None:
    fail_once(world, receiver, 500)
    [logged] = world.organization.notifications
    start, clock = logged.completed_date, world.emulator.clock
    assert start is not None
    receiver.answers = [500] * 20
    minutes = []
    for count, pause in enumerate((20, 40, 80, 160, 320, 640, 900), 1):
        assert hook.status == "onProbation"
        clock.move(minutes=pause - 5)
        assert len(receiver.received) == count - 1
        clock.move(minutes=5.1)
        assert len(receiver.received) == count
        assert hook.probation is not None
        assert hook.probation.last_retry is not None
        minutes.append(round((hook.probation.last_retry - start).total_seconds() / 60))
    assert minutes == [20, 60, 140, 300, 620, 1260, 2160]
    assert {event["notificationId"] for _, event in receiver.received} == {1}
    shown = world.get(f"{HOOKS}/{hook.id}").json()
    assert (shown["status"], shown["probationRetries"]) == ("disabledBySystem", 7)
    last_retry = datetime.fromisoformat(shown["lastProbationRetryDate"])
    assert timedelta(hours=35.9) < last_retry - start < timedelta(hours=36.1)
    clock.move(days=3)
    assert len(receiver.received) == 7


def test_one_move_makes_all_retries_at_their_own_times(
    world: World, hook: Subscription, receiver: Receiver
) -> None:
    fail_once(world, receiver, 404)
    receiver.answers = [404] * 5
    world.emulator.clock.move(hours=48)
    assert (len(receiver.received), hook.status) == (6, "enabled")
    [logged] = world.organization.notifications
    assert (logged.result, logged.attempts) == ("succeeded", 7)
    assert logged.completed_date is not None
    taken = logged.completed_date - logged.created_date
    assert timedelta(minutes=1260) <= taken < timedelta(minutes=1261)


def test_one_success_ends_the_probation(
    world: World, hook: Subscription, receiver: Receiver
) -> None:
    fail_once(world, receiver, 500)
    world.repository.push({"x": "lost"})
    world.emulator.clock.move(minutes=21)
    assert [event["notificationId"] for _, event in receiver.received] == [1]
    assert world.get(f"{HOOKS}/{hook.id}").json()["probationRetries"] == 0
    world.repository.push({"x": "sent"})
    world.emulator.wait_for_deliveries()
    assert [event["notificationId"] for _, event in receiver.received] == [1, 2]
    assert hook.status == "enabled"


def test_a_retry_on_probation_goes_where_the_subscription_leads_by_then(
    world: World, hook: Subscription, receiver: Receiver
) -> None:
    hook.edit(url="http://127.0.0.1:9/")
    world.repository.push({"x": "1"})
    world.emulator.wait_for_deliveries()
    hook.edit(url=receiver.url, password="0ther")
    world.emulator.clock.move(minutes=21)
    assert (len(receiver.received), hook.status) == (1, "enabled")


def test_410_on_probation_ends_it(world: World, hook: Subscription, receiver: Receiver) -> None:
    fail_once(world, receiver, 500)
    receiver.answers = [410]
    world.emulator.clock.move(hours=36)
    assert (len(receiver.received), hook.status) == (1, "disabledBySystem")


def test_who_enables_a_subscription_ends_its_probation(
    world: World, hook: Subscription, receiver: Receiver
) -> None:
    fail_once(world, receiver, 500)
    hook.set_status("disabledByUser")
    world.emulator.clock.move(minutes=21)
    hook.set_status("enabled")
    world.emulator.clock.move(hours=36)
    assert (receiver.received, hook.status) == ([], "enabled")


@pytest.mark.parametrize("answer", [200, 401, 410])
def test_a_test_changes_no_status(
    world: World, hook: Subscription, receiver: Receiver, answer: int
) -> None:
    for status in ("enabled", "onProbation"):
        hook.set_status(status)
        receiver.answers = [answer]
        body = {"subscriptionId": hook.id}
        assert world.call("POST", "_apis/hooks/testnotifications", json=body).status_code == 200
        world.emulator.wait_for_deliveries()
        assert hook.status == status


def test_probation_survives_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [500, 500]
    with Emulator(tmp_path, allow_local_hooks=True) as first:
        project = first.add_organization("fabrikam").add_project("P")
        first.organizations[0].add_subscription(project, "git.push", receiver.url)
        project.add_repository("r", {"x": "1"})
        first.wait_for_deliveries()
        first.clock.move(minutes=30)
        moment = first.clock.now()
    with Emulator(tmp_path, allow_local_hooks=True) as second:
        assert second.clock.now() > moment
        [hook] = second.organizations[0].subscriptions
        assert (hook.status, len(receiver.received)) == ("onProbation", 2)
        second.clock.move(minutes=31)
        assert (hook.status, len(receiver.received)) == ("enabled", 3)


# Behind one's back


def test_a_person_changes_a_subscription(world: World, hook: Subscription) -> None:
    other = world.project.add_repository("other")
    hook.edit(
        url="http://127.0.0.1:9/else",
        publisher_inputs={"repository": other.id},
        resourceDetailsToSend="minimal",
        user="Bo Builder",
    )
    shown = world.get(f"{HOOKS}/{hook.id}").json()
    assert shown["consumerInputs"]["url"].endswith("/else")
    assert shown["consumerInputs"]["resourceDetailsToSend"] == "minimal"
    assert shown["publisherInputs"]["repository"] == other.id
    assert shown["modifiedBy"]["displayName"] == "Bo Builder"
    assert shown["modifiedDate"] > shown["createdDate"]
    assert hook.consumer_inputs["basicAuthPassword"] == "s3cret"
    hook.edit(password="0ther")
    assert hook.consumer_inputs["basicAuthPassword"] == "0ther"
    with pytest.raises(HookRuleError, match="url"):
        hook.edit(url="nonsense")
    world.organization.unsubscribe(hook)
    assert world.get(HOOKS).json()["count"] == 0


def test_rights_and_statuses_survive_a_restart(tmp_path: Path) -> None:
    with Emulator(tmp_path, allow_local_hooks=True) as first:
        organization = first.add_organization("fabrikam")
        project = organization.add_project("P")
        organization.add_subscription(project, "git.push", "http://127.0.0.1:9/")
        organization.deny("Ann Admin", "edit_subscriptions", project)
        organization.permissions_api = False
        organization.deactivate("Ann Admin")
    with Emulator(tmp_path, allow_local_hooks=True) as second:
        kept = second.organization("fabrikam")
        assert kept is not None
        assert not kept.may("Ann Admin", "edit_subscriptions", kept.projects[0])
        assert (kept.permissions_api, kept.inactive_users) == (False, ["Ann Admin"])
        [hook] = kept.subscriptions
        assert hook.project is kept.projects[0]
        assert hook.status == "disabledByInactiveIdentity"
