"""A new webhook password while webhooks keep coming: none is refused, none is lost."""

import base64
import json
import threading
import time
from collections import Counter
from datetime import timedelta

import pytest
import requests
import time_machine
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tests.emulator.model import Organization, Project
from tests.emulator.model import Subscription as RemoteHook
from tests.endpoint import Endpoint, basic
from vcs_integrations.connections.linking import replace_token
from vcs_integrations.hooks.counting import count_deliveries
from vcs_integrations.hooks.overview import hooks_behind
from vcs_integrations.hooks.watching import watch
from vcs_integrations.models import Delivery, HookState, Integration, Subscription
from vcs_integrations.webhooks.password import change_webhook_password

SENDERS = 5
PER_SECOND = 100
SECONDS = 6


@pytest.fixture
def kept(integration: Integration) -> Integration:
    integration.projects.update(keeps_hooks=True)
    watch(integration.hook_watch)
    return integration


def again(integration: Integration) -> Integration:
    return Integration.objects.get(pk=integration.pk)


def change(integration: Integration) -> None:
    assert change_webhook_password(integration, again(integration).password_mark)


def send(hook: RemoteHook, url: str, number: int) -> int:
    """Deliver by a hook, with the password that it has now; return the answer's status."""
    inputs = hook.consumer_inputs
    secret = f"{inputs.get('basicAuthUsername', '')}:{inputs['basicAuthPassword']}"
    body = {"subscriptionId": hook.id, "notificationId": number, "eventType": hook.event_type}
    answer = requests.post(
        url,
        data=json.dumps(body),
        headers={"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"},
        timeout=600,
    )
    return answer.status_code


def test_under_a_hundred_deliveries_a_second_none_is_refused_and_none_is_lost(
    site: str, kept: Integration, organization: Organization, project: Project
) -> None:
    push = next(one for one in organization.subscriptions if one.event_type == "git.push")
    url = again(kept).endpoint_url
    answers: Counter[int] = Counter()
    counting = threading.Lock()
    ends_at = time.monotonic() + SECONDS

    def keep_sending(first: int) -> None:
        for number in range(first, SECONDS * PER_SECOND, SENDERS):
            due = ends_at - SECONDS + number / PER_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
            status = send(push, url, number)
            with counting:
                answers[status] += 1

    senders = [threading.Thread(target=keep_sending, args=(n,)) for n in range(SENDERS)]
    for sender in senders:
        sender.start()
    before = push.consumer_inputs["basicAuthPassword"]
    for _ in range(2):
        time.sleep(SECONDS / 4)
        change(kept)
        time.sleep(SECONDS / 8)  # meanwhile the hooks still have the old one
        watch(again(kept).hook_watch)
    for sender in senders:
        sender.join()
    assert push.consumer_inputs["basicAuthPassword"] != before
    assert answers == {200: SECONDS * PER_SECOND}
    assert kept.deliveries.exclude(outcome="duplicate").count() == SECONDS * PER_SECOND
    assert len(set(Delivery.objects.values_list("password_mark", flat=True))) == 3


def test_hooks_made_by_hand_are_listed_until_seen_with_the_new_one(
    site: str, integration: Integration, organization: Organization, project: Project
) -> None:
    old = integration.read_webhook_secret().value
    hook = organization.add_subscription(project, "git.push", integration.endpoint_url, old)
    watch(again(integration).hook_watch)
    change(integration)
    assert send(hook, integration.endpoint_url, 1) == 200
    watch(again(integration).hook_watch)
    assert hooks_behind(again(integration)) == [("Code pushed", "Platform Team")]
    assert integration.subscriptions.get().state == HookState.WRONG_PASSWORD
    assert Subscription.objects.get().works

    hook.edit(password=again(integration).read_webhook_secret().value)
    assert send(hook, integration.endpoint_url, 2) == 200
    watch(again(integration).hook_watch)
    assert hooks_behind(again(integration)) == []
    assert integration.subscriptions.get().state == HookState.OK


def test_the_old_one_ends_once_nothing_comes_with_it(kept: Integration) -> None:
    change(kept)
    watch(again(kept).hook_watch)
    assert again(kept).accepts_old_password
    with time_machine.travel(timezone.now() + timedelta(hours=47)):
        watch(again(kept).hook_watch)
        assert again(kept).accepts_old_password
    with time_machine.travel(timezone.now() + timedelta(hours=49)):
        watch(again(kept).hook_watch)
        assert not again(kept).accepts_old_password


def test_the_old_one_stays_while_something_still_comes_with_it(kept: Integration) -> None:
    old = again(kept).password_mark
    change(kept)
    with time_machine.travel(timezone.now() + timedelta(hours=49)):
        yesterday = timezone.now() - timedelta(days=1)
        Delivery.objects.create(
            integration=kept, outcome="run", body=b"{}", password_mark=old, received_at=yesterday
        )
        watch(again(kept).hook_watch)
        assert again(kept).accepts_old_password


def test_a_change_that_somebody_made_in_this_moment_is_not_made_twice(
    admin: Client, kept: Integration, organization: Organization
) -> None:
    """A double click would leave the hooks with a password that is accepted no more."""
    url = f"{kept.get_absolute_url()}password/"
    first = {"mark": again(kept).password_mark}
    admin.post(url, first)
    once = again(kept).valid_secrets
    answer = admin.post(url, first, follow=True)
    assert again(kept).valid_secrets == once
    assert "Someone else just changed the webhook password" in answer.content.decode()


def test_the_overlap_that_was_seen_is_ended_and_no_other(admin: Client, kept: Integration) -> None:
    url = f"{kept.get_absolute_url()}password/end/"
    change(kept)
    seen = again(kept).password_mark
    change(kept)
    admin.post(url, {"mark": seen})
    assert again(kept).accepts_old_password
    admin.post(url, {"mark": again(kept).password_mark})
    assert not again(kept).accepts_old_password
    assert [one.value is None for one in kept.webhook_secrets.all()] == [False, True, True]


def test_where_hooks_are_left_alone_ours_get_the_password_and_no_more(
    kept: Integration, organization: Organization, project: Project
) -> None:
    password = again(kept).read_webhook_secret().value
    kept.projects.update(keeps_hooks=False, is_left_alone=True)
    by_hand = organization.add_subscription(project, "git.push", kept.endpoint_url, password)
    before = {one.id for one in organization.subscriptions}
    change(kept)
    watch(again(kept).hook_watch)
    assert {one.id for one in organization.subscriptions} == before
    new = again(kept).read_webhook_secret().value
    ours = [one for one in organization.subscriptions if one is not by_hand]
    with_new = [one for one in ours if one.consumer_inputs["basicAuthPassword"] == new]
    assert len(with_new) >= 3  # that for pushes is not needed beside the one made by hand


def test_with_a_lost_key_the_old_password_is_accepted_beside_the_new(
    kept: Integration, token: str, settings: Settings
) -> None:
    [old] = again(kept).valid_secrets
    settings.FIELD_ENCRYPTION_KEY = "another key altogether"
    assert replace_token(again(kept), token)
    present, before = again(kept).valid_secrets
    assert before == old
    assert before.value is None  # no key reads it, so that rotating keys would fail
    assert present.mark == again(kept).read_webhook_secret().mark


def test_the_card_counts_what_is_still_accepted_as_working(
    admin: Client, integration: Integration, organization: Organization, project: Project
) -> None:
    old = integration.read_webhook_secret().value
    organization.add_subscription(project, "git.push", integration.endpoint_url, old)
    watch(again(integration).hook_watch)
    change(integration)
    watch(again(integration).hook_watch)
    assert "1, all work" in admin.get("/settings/vcs-providers/").content.decode()
    again(integration).old_secrets.end()
    assert "1 does not work" in admin.get("/settings/vcs-providers/").content.decode()


def test_the_old_one_stays_while_a_hook_may_have_it(
    integration: Integration, organization: Organization, project: Project
) -> None:
    old = integration.read_webhook_secret().value
    organization.add_subscription(project, "git.push", integration.endpoint_url, old)
    watch(again(integration).hook_watch)
    change(integration)
    with time_machine.travel(timezone.now() + timedelta(days=30)):
        watch(again(integration).hook_watch)
        assert again(integration).accepts_old_password


def test_when_each_password_was_last_seen_is_noted(endpoint: Endpoint) -> None:
    before, integration = endpoint.password, endpoint.integration
    change(integration)
    endpoint.post(authorization=basic(before))
    count_deliveries(again(integration))
    present, old = again(integration).valid_secrets
    assert present.seen_at is None
    assert old.seen_at == integration.deliveries.get().received_at
    endpoint.post(authorization=basic(present.value))
    endpoint.post(authorization=basic(before))
    count_deliveries(again(integration))
    seen = [one.seen_at for one in again(integration).valid_secrets]
    newest = integration.deliveries.order_by("-pk").values_list("received_at", flat=True)
    assert seen == [newest[1], newest[0]]
