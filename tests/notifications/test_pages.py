"""The pages of notifications: subscribing, channels with their secrets, and the delivery log."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts.audit.records import entries
from accounts.models import User, Verb
from notifications.channels.forms import ChannelForm
from notifications.models import Channel, ChannelSecret, Event, Message, MessageState, Subscription
from stacks.models import Stack
from stacks.rules.states import State
from tests.builders import make_channel, make_run, make_stack
from vcs_integrations.models import Integration

MINE = "/account/notifications/"
CHANNELS = "/settings/notifications/"
ADDRESS = "https://hooks.example.com/a-canary-address"


@pytest.fixture
def stack(linked: Integration) -> Stack:
    return make_stack(linked, "Network", labels=["prod"])


def text(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def break_secret() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE notifications_channelsecret SET address = %s", [b"of another key"])


def test_a_person_subscribes_for_themselves_and_changes_that(
    member: Client, bob: User, stack: Stack
) -> None:
    assert f'href="{MINE}?stack={stack.pk}"' in text(member, stack.get_absolute_url())
    assert f'value="stack:{stack.pk}" selected' in text(member, f"{MINE}?stack={stack.pk}")
    for scope in (f"stack:{stack.pk}", "label:prod", "all"):
        for events in ({"failed": "on"}, {"drift": "on", "applied": "on"}):
            assert member.post(MINE, {"scope": scope} | events).status_code == 302
    found = Subscription.objects.values_list("person", "stack", "label", "events")
    expected = [
        (bob.pk, None, "", ["drift", "applied"]),
        (bob.pk, None, "prod", ["drift", "applied"]),
        (bob.pk, stack.pk, "", ["drift", "applied"]),
    ]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert "Drift found, Applied" in text(member, MINE)


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"scope": "all"}, "Choose at least one event."),
        ({"scope": "stack:999", "failed": "on"}, "Choose from the list"),
        ({"failed": "on"}, "Fill this in."),
    ],
)
def test_a_wrong_subscription_is_not_stored(
    member: Client, form: dict[str, str], problem: str
) -> None:
    assert problem in member.post(MINE, form).content.decode()
    assert not Subscription.objects.exists()


def test_nobody_sees_or_removes_the_subscription_of_somebody_else(
    member: Client, alice: User, bob: User
) -> None:
    other = Subscription.objects.create(person=alice, label="of-alice", events=[Event.FAILED])
    own = Subscription.objects.create(person=bob, events=[Event.FAILED])
    assert "of-alice" not in text(member, MINE)
    assert member.post(f"{MINE}{other.pk}/remove/").status_code == 404
    assert member.post(f"{MINE}{own.pk}/remove/").status_code == 302
    assert list(Subscription.objects.all()) == [other]


def test_a_webhook_shows_its_secret_once_and_its_address_never(admin: Client) -> None:
    form = {"name": "Ops", "kind": "webhook", "address": ADDRESS, "failed": "on"}
    answer = admin.post(f"{CHANNELS}new/", form)
    secret = ChannelSecret.objects.get()
    assert secret.address == ADDRESS
    assert secret.signing_secret.startswith("whsec_")
    assert secret.signing_secret in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    channel = Channel.objects.get()
    for path in (CHANNELS, channel.get_absolute_url(), f"{CHANNELS}log/", "/settings/audit-log/"):
        page = text(admin, path)
        assert secret.signing_secret not in page
        assert ADDRESS not in page
    admin.post(channel.get_absolute_url(), form | {"address": "", "name": "Operators"})
    assert ChannelSecret.objects.get().address == ADDRESS
    assert ChannelSecret.objects.get().signing_secret == secret.signing_secret
    answer = admin.post(channel.get_absolute_url(), form | {"address": "", "new_secret": "on"})
    changed = ChannelSecret.objects.get().signing_secret
    assert changed != secret.signing_secret
    assert changed in answer.content.decode()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"address": ""}, "Enter the address."),
        ({"address": "http://hooks.example.com/a"}, "begins with https://"),
        ({"address": "https://user@hooks.example.com/a"}, "without user name"),
        ({"address": "https://[hooks"}, "This is not a valid address."),
        ({"failed": ""}, "Choose at least one event."),
        ({"name": "OPS"}, "Another channel has this name."),
        ({"kind": "pigeon"}, "Choose from the list"),
    ],
)
def test_a_wrong_channel_is_not_stored(admin: Client, change: dict[str, str], problem: str) -> None:
    make_channel()
    form = {"name": "New", "kind": "slack", "address": ADDRESS, "failed": "on"} | change
    answer = admin.post(f"{CHANNELS}new/", form).content.decode()
    assert problem in answer
    assert "a-canary-address" not in answer
    assert Channel.objects.count() == 1


@pytest.mark.parametrize("is_new", [True, False])
def test_a_name_that_is_taken_at_the_same_moment_is_refused(
    admin: Client, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    path = f"{CHANNELS}new/" if is_new else make_channel(name="Old").get_absolute_url()
    _before_storing(monkeypatch, lambda: make_channel(name="OPS"))
    form = {"name": "Ops", "kind": "slack", "address": ADDRESS, "failed": "on"}
    answer = admin.post(path, form)
    assert "Another channel has this name." in answer.content.decode()
    assert not Channel.objects.filter(name="Ops").exists()
    assert not entries().exists()


def test_a_stack_that_is_deleted_at_the_same_moment_is_left_out(
    admin: Client, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    _before_storing(monkeypatch, lambda: Stack.objects.all().delete())
    form = {"name": "Ops", "kind": "slack", "address": ADDRESS, "failed": "on"}
    assert admin.post(f"{CHANNELS}new/", form | {"stacks": stack.pk}).status_code == 302
    connection.check_constraints()
    assert not Channel.objects.get().stacks.exists()


def _before_storing(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have something done once a form is found valid, before it is stored."""
    clean = ChannelForm.clean

    def meanwhile(self: ChannelForm) -> dict[str, Any]:
        act()
        return clean(self)

    monkeypatch.setattr(ChannelForm, "clean", meanwhile)


def test_a_channel_that_no_key_reads_has_a_page_that_says_what_to_do(admin: Client) -> None:
    channel = make_channel()
    break_secret()
    assert "Enter it again" in text(admin, channel.get_absolute_url())
    for path in (CHANNELS, f"{CHANNELS}log/", f"{channel.get_absolute_url()}delete/"):
        text(admin, path)
    form = {"name": "Ops", "kind": "webhook", "failed": "on"}
    assert "Enter the address." in admin.post(channel.get_absolute_url(), form).content.decode()
    answer = admin.post(channel.get_absolute_url(), form | {"address": ADDRESS})
    assert ChannelSecret.objects.get().signing_secret in answer.content.decode()
    break_secret()
    assert admin.post(f"{channel.get_absolute_url()}delete/").status_code == 302
    assert not Channel.objects.exists()


def test_what_admins_do_to_channels_is_in_the_audit_log(admin: Client, stack: Stack) -> None:
    form = {"name": "Ops", "kind": "slack", "address": ADDRESS, "failed": "on"}
    admin.post(f"{CHANNELS}new/", form)
    channel = Channel.objects.get()
    admin.post(channel.get_absolute_url(), form | {"address": ""})
    run = make_run(stack, state=State.FAILED)
    message = Message.objects.create(
        run=run, event=Event.FAILED, channel=channel, state=MessageState.DROPPED
    )
    admin.post(f"{CHANNELS}log/{message.pk}/resend/")
    admin.post(f"{CHANNELS}log/{message.pk}/resend/")  # it waits already
    admin.post(f"{channel.get_absolute_url()}delete/")
    assert [(one.verb, one.thing, one.note) for one in entries()] == [
        (Verb.CHANNEL_DELETED, "Ops", ""),
        (Verb.NOTIFICATION_RESENT, "Network, Run 1", "Failed, to Ops"),
        (Verb.CHANNEL_CHANGED, "Ops", ""),
        (Verb.CHANNEL_CREATED, "Ops", "With another address"),
    ]


def test_the_log_is_filtered(admin: Client, bob: User, stack: Stack) -> None:
    run = make_run(stack, state=State.FAILED)
    channel = make_channel()
    Message.objects.create(run=run, event=Event.FAILED, channel=channel, problem="It hangs.")
    Message.objects.create(run=run, event=Event.FAILED, person=bob, state=MessageState.SENT)
    page = text(admin, f"{CHANNELS}log/")
    assert "It hangs." in page
    assert "E-mail" in page
    assert "It hangs." not in text(admin, f"{CHANNELS}log/?state=sent")
    assert "It hangs." in text(admin, f"{CHANNELS}log/?channel={channel.pk}&event=failed")
    assert "No message matches." in text(admin, f"{CHANNELS}log/?event=drift")
    assert "It hangs." in text(admin, f"{CHANNELS}log/?event=nonsense")
