"""Pages whose states change poll a part of themselves, as long as anything there can change."""

import html
import re
from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from modules.models import Check, CheckState, ModuleVersion, VersionState
from notifications.models import Message, MessageState
from stacks.models import Decision, Report, Run, Schedule, StateLock
from stacks.models.report import What
from stacks.rules.states import State
from tests.addresses import World, make_world
from vcs_integrations.models import Delivery, Integration, Repository

LIVE = {"HX-Request": "true"}


@pytest.fixture
def everything(linked: Integration) -> World:
    return make_world(linked)


def polled(client: Client, path: str) -> str:
    """Return what a page asks for again and again; empty for one that is not live."""
    page = client.get(path).content.decode()
    found = re.search(r'data-live hx-get="([^"]*)" hx-trigger="every 4s"', page)
    return html.unescape(found[1]) if found else ""


def deliver(world: World) -> None:
    Delivery.objects.create(integration=world.integration, outcome="stored", body=b"{}")


def replay(world: World) -> None:
    Delivery.objects.update(outcome="stored", due_at=timezone.now())


def move_run(world: World) -> None:
    Run.objects.filter(pk=world.run.pk).update(state=State.UNCONFIRMED)


def queue_report(world: World) -> None:
    repository = world.stack.repository
    Report.objects.create(what=What.COMMIT_STATUS, name="n", repository=repository, sha="a" * 40)


def resend(world: World) -> None:
    Message.objects.update(state=MessageState.WAITING)


def start_check(world: World) -> None:
    Check.objects.update(state=CheckState.QUEUED, failure="Canceled.")
    ModuleVersion.objects.update(state=VersionState.WAITING, archive=None, published_at=None)


def end_check(world: World) -> None:
    Check.objects.update(state=CheckState.PASSED)
    ModuleVersion.objects.update(state=VersionState.REFUSED)


def fail_to_connect(world: World) -> None:
    Integration.objects.update(problem="unreachable", problem_cause="It is away.")


def read_repositories(world: World) -> None:
    Repository.objects.in_use().update(reconciled_at=timezone.now())


def lock_state(world: World) -> None:
    StateLock.objects.update(lock_id="another")


def run_schedule(world: World) -> None:
    Schedule.objects.update(last_run=world.run)


def decide(world: World) -> None:
    Decision.objects.create(stack=world.stack, subject="Push 7", rule="tracked", sentence="It is.")


Change = Callable[[World], None]


@pytest.mark.parametrize(
    ("route", "changes"),
    [
        ("", [move_run, fail_to_connect, deliver]),
        ("runs/", [move_run]),
        ("stacks/", [move_run]),
        ("stacks/<slug:slug>/", [move_run]),
        ("stacks/<slug:slug>/activity/", [decide]),
        ("stacks/<slug:slug>/state/versions/", [lock_state]),
        ("stacks/<slug:slug>/schedules/", [run_schedule, move_run]),
        ("settings/vcs-providers/", [fail_to_connect, read_repositories, deliver, queue_report]),
        ("settings/vcs-providers/<int:pk>/", [fail_to_connect, read_repositories, replay]),
        ("settings/vcs-providers/<int:pk>/deliveries/", [deliver, replay]),
        ("settings/vcs-providers/<int:pk>/reports/", [queue_report]),
        ("settings/notifications/log/", [resend]),
    ],
)
def test_a_page_asks_for_its_part_and_gets_it_once_something_changed(
    admin: Client, everything: World, route: str, changes: list[Change]
) -> None:
    path = everything.path(route)
    with time_machine.travel(timezone.now(), tick=False):  # ages change a part, too
        for change in changes:
            address = polled(admin, path)
            assert address
            assert admin.get(address, headers=LIVE).status_code == 204
            change(everything)
            answer = admin.get(address, headers=LIVE)
            assert answer.status_code == 200
            part = answer.content.decode()
            assert "<html" not in part
            assert part.count('id="live"') == 1
            assert 'id="waiting-runs" hx-swap-oob' in part


@pytest.mark.parametrize(
    "route",
    [
        "modules/<str:namespace>/<str:name>/<str:system>/versions/<str:version_number>/",
        "modules/<str:namespace>/<str:name>/<str:system>/versions/",
        "modules/<str:namespace>/<str:name>/<str:system>/",
        "modules/",
    ],
)
def test_a_page_of_modules_asks_until_the_check_has_ended(
    admin: Client, everything: World, route: str
) -> None:
    path = everything.path(route)
    assert not polled(admin, path)
    start_check(everything)
    address = polled(admin, path)
    assert address
    end_check(everything)
    assert "hx-get" not in admin.get(address, headers=LIVE).content.decode()
    assert not polled(admin, path)


def test_the_page_of_a_check_asks_until_it_has_ended(admin: Client, everything: World) -> None:
    path = everything.check.get_absolute_url()
    assert not polled(admin, path)
    start_check(everything)
    address = polled(admin, path)
    Check.objects.update(state=CheckState.FAILED)
    part = admin.get(address, headers=LIVE).content.decode()
    assert "Check again" in part
    assert "hx-get" not in part


def test_a_delivery_turns_to_its_result_once_it_is_processed(
    admin: Client, everything: World
) -> None:
    before = timezone.now() - timedelta(seconds=56)
    delivery = everything.delivery
    Delivery.objects.update(outcome="no_run", reason="No stack uses it", processed_at=before)
    path = delivery.get_absolute_url()
    assert not polled(admin, path)
    admin.post(f"{path}replay/")
    page = admin.get(path).content.decode()
    assert "Waiting" in page
    assert "No stack uses it" not in page
    assert ">processed " not in page
    address = polled(admin, path)
    Delivery.objects.update(outcome="no_run", reason="It was deleted", due_at=None)
    part = admin.get(address, headers=LIVE).content.decode()
    assert "It was deleted" in part
    assert ">· processed " in part
    assert "hx-get" not in part


@pytest.mark.parametrize("tab", ["", "stacks/"])
def test_a_poll_reads_nothing_that_only_the_page_shows(
    admin: Client, everything: World, tab: str
) -> None:
    """Which stacks use a module is no part that changes by itself."""
    start_check(everything)
    path = f"{everything.module_version.module.get_absolute_url()}{tab}"
    address = polled(admin, path)
    for asked, is_read in ((path, True), (address, False)):
        with CaptureQueriesContext(connection) as queries:
            admin.get(asked, headers={} if is_read else LIVE)
        assert any("stacks_registrysource" in one["sql"] for one in queries) == is_read


def test_older_pages_of_a_list_ask_only_while_something_waits(
    admin: Client, everything: World
) -> None:
    Delivery.objects.update(outcome="no_run", due_at=None)
    deliveries = f"{everything.integration.get_absolute_url()}deliveries/?before=9999"
    messages = "/settings/notifications/log/?before=9999"
    assert not polled(admin, deliveries)
    assert not polled(admin, messages)
    replay(everything)
    resend(everything)
    assert "before=9999" in polled(admin, deliveries)
    assert "before=9999" in polled(admin, messages)


def test_links_of_a_part_that_was_polled_name_no_version(admin: Client, everything: World) -> None:
    replay(everything)
    path = f"{everything.integration.get_absolute_url()}deliveries/?event=git.push"
    address = f"{polled(admin, path)}1"
    part = admin.get(address, headers=LIVE).content.decode()
    replayed = re.search(r'action="([^"]*)"', part)
    assert replayed
    assert replayed[1].endswith("replay/?event=git.push")


@pytest.mark.parametrize("route", ["settings/vcs-providers/", "settings/vcs-providers/<int:pk>/"])
def test_a_form_sent_by_htmx_leads_to_a_whole_page(
    admin: Client, everything: World, route: str
) -> None:
    page = admin.get(everything.path(route), headers=LIVE | {"HX-Boosted": "true"}).content.decode()
    assert "<html" in page
    assert page.count(f'id="state-{everything.integration.pk}"') == 1
