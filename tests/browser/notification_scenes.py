"""The pages of notifications, in their main states."""

from django.utils import timezone
from playwright.sync_api import expect

from accounts.models import User
from notifications.models import ChannelSecret, Event, Message, MessageState, Subscription
from stacks.models import Run
from tests.browser.scene import LONG_NAME, Scene, state
from tests.builders import make_channel

CHANNELS = "/settings/notifications/"


@state("notifications of a person")
def _mine(scene: Scene) -> None:
    bob = scene.sign_in("bob")
    Subscription.objects.create(person=bob, stack=scene.stack(), events=list(Event))
    Subscription.objects.create(person=bob, label=LONG_NAME[:50], events=[Event.FAILED])
    scene.page.goto("/account/notifications/")
    scene.press("Save")
    expect(scene.page.get_by_text("Your notifications were changed")).to_be_visible()


@state("notification channels")
def _channels(scene: Scene) -> None:
    make_channel(name=LONG_NAME, labels=["prod"]).stacks.add(scene.stack())
    make_channel(kind="teams")
    scene.admin(CHANNELS)


@state("notification channels, none")
def _no_channel(scene: Scene) -> None:
    scene.admin(CHANNELS)


@state("add channel, with errors")
def _add_channel(scene: Scene) -> None:
    scene.stack()
    scene.admin(f"{CHANNELS}new/")
    scene.page.get_by_label("Name").fill("Ops")
    scene.press("Save")
    expect(scene.page.get_by_text("Enter the address.")).to_be_visible()


@state("edit channel, of another key")
def _edit_channel(scene: Scene) -> None:
    channel = make_channel()
    ChannelSecret.objects.all().delete()
    scene.admin(channel.get_absolute_url())


@state("channel, its signing secret")
def _signing_secret(scene: Scene) -> None:
    scene.admin(f"{CHANNELS}new/")
    scene.page.get_by_label("Name").fill("Ops")
    scene.page.get_by_label("Kind").select_option("Webhook")
    scene.page.get_by_label("Address").fill("https://hooks.example.com/a")
    scene.press("Save")
    expect(scene.page.get_by_text("Copy the secret now")).to_be_visible()


@state("delete channel")
def _delete_channel(scene: Scene) -> None:
    scene.admin(f"{make_channel().get_absolute_url()}delete/")


@state("delivery log of notifications")
def _log(scene: Scene) -> None:
    scene.busy_stack()
    channel = make_channel()
    values = {"tries": 3, "tried_at": timezone.now()}
    for run, sent in zip(Run.objects.all()[:4], MessageState, strict=True):
        problem = f"{LONG_NAME}.example did not answer in time." if sent != "sent" else ""
        Message.objects.create(
            run=run, event=Event.FAILED, channel=channel, state=sent, problem=problem, **values
        )
    Message.objects.create(run=run, event=Event.DRIFT, person=scene.fixture("bob", User))
    scene.admin(f"{CHANNELS}log/")
