"""What becomes of a subscription: its five statuses, and changes behind one's back."""

from __future__ import annotations

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
def test_only_an_enabled_subscription_is_told_of_new_events(
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
