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
from django.utils import timezone

from tests.emulator.model import Organization, Project
from tests.emulator.model import Subscription as RemoteHook
from vcs_integrations.hook_overview import overview_of
from vcs_integrations.linking import change_webhook_password
from vcs_integrations.models import Delivery, HookState, Integration, Subscription
from vcs_integrations.watching import watch

SENDERS = 5
PER_SECOND = 100
SECONDS = 6


@pytest.fixture
def project(organization: Organization) -> Project:
    project = organization.project("Platform Team")
    assert project
    return project


@pytest.fixture
def kept(integration: Integration) -> Integration:
    integration.projects.update(keeps_hooks=True)
    watch(integration)
    return integration


def again(integration: Integration) -> Integration:
    return Integration.objects.get(pk=integration.pk)


def send(hook: RemoteHook, url: str, number: int) -> int:
    """Deliver by a hook, with the password that it has now; return the answer's status."""
    inputs = hook.consumer_inputs
    secret = f"{inputs.get('basicAuthUsername', '')}:{inputs['basicAuthPassword']}"
    body = {"subscriptionId": hook.id, "notificationId": number, "eventType": hook.event_type}
    answer = requests.post(
        url,
        data=json.dumps(body),
        headers={"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"},
        timeout=30,
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
        change_webhook_password(again(kept))
        time.sleep(SECONDS / 8)  # meanwhile the hooks still have the old one
        watch(again(kept))
    for sender in senders:
        sender.join()
    assert push.consumer_inputs["basicAuthPassword"] != before
    assert answers == {200: SECONDS * PER_SECOND}
    assert kept.deliveries.exclude(outcome="duplicate").count() == SECONDS * PER_SECOND
    assert len(set(Delivery.objects.values_list("password_mark", flat=True))) == 3


def test_hooks_made_by_hand_are_listed_until_seen_with_the_new_one(
    site: str, integration: Integration, organization: Organization, project: Project
) -> None:
    old = integration.read_credentials().webhook_password
    hook = organization.add_subscription(project, "git.push", integration.endpoint_url, old)
    watch(again(integration))
    assert overview_of(again(integration)).behind == []
    change_webhook_password(again(integration))
    assert send(hook, integration.endpoint_url, 1) == 200
    watch(again(integration))
    assert overview_of(again(integration)).behind == [("Code pushed", "Platform Team")]
    assert integration.subscriptions.get().state == HookState.OLD_PASSWORD
    assert Subscription.objects.get().works

    hook.edit(password=again(integration).read_credentials().webhook_password)
    assert send(hook, integration.endpoint_url, 2) == 200
    watch(again(integration))
    assert overview_of(again(integration)).behind == []
    assert integration.subscriptions.get().state == HookState.OK


def test_the_old_one_ends_once_nothing_comes_with_it(kept: Integration) -> None:
    change_webhook_password(again(kept))
    watch(again(kept))
    assert again(kept).old_password_digest
    with time_machine.travel(timezone.now() + timedelta(hours=47)):
        watch(again(kept))
        assert again(kept).old_password_digest
    with time_machine.travel(timezone.now() + timedelta(hours=49)):
        watch(again(kept))
        assert not again(kept).old_password_digest


def test_the_old_one_stays_while_a_hook_may_have_it(
    integration: Integration, organization: Organization, project: Project
) -> None:
    old = integration.read_credentials().webhook_password
    organization.add_subscription(project, "git.push", integration.endpoint_url, old)
    watch(again(integration))
    change_webhook_password(again(integration))
    with time_machine.travel(timezone.now() + timedelta(days=30)):
        watch(again(integration))
        assert again(integration).old_password_digest
