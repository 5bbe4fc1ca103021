"""The start page's notices, and what pages cost when there is much to show."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from stacks.models import Report, Stack
from stacks.sources.heads import follow_from_now
from tests.addresses import World, make_world
from tests.builders import make_integration, make_run, make_stack, store_integration
from tests.emulator import Emulator
from tests.emulator.model import Organization, Repository
from tests.stacks.reports.sender import look
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.hooks.watching import watch
from vcs_integrations.models import Delivery, Integration, Subscription
from vcs_integrations.models import Repository as StoredRepository
from vcs_integrations.organizations.queue import refresh_next


def notices(client: Client) -> list[str]:
    return [notice.text for notice in client.get("/").context["notices"]]


def heading(client: Client) -> str:
    return client.get("/").content.decode().split("<h1>")[1].split("</h1>")[0]


def test_it_leads_on_from_the_first_step(admin: Client, member: Client) -> None:
    assert heading(admin) == "Overview"
    assert "Go to VCS providers" in admin.get("/").content.decode()
    assert "An admin links an organization under Settings" in member.get("/").content.decode()


def text_of(client: Client) -> str:
    return client.get("/").content.decode()


def deliver(integration: Integration, received_at: datetime | None = None) -> None:
    Delivery.objects.create(
        integration=integration,
        outcome="stored",
        event_type="git.push",
        project_id=integration.repositories.get().project_id,
        body=b"{}",
        received_at=received_at or timezone.now(),
    )


def open_steps(client: Client) -> list[str]:
    return [step.heading for step in client.get("/").context["steps"] if not step.is_done]


def button(client: Client) -> tuple[str, str]:
    """Return the one button of the steps, and where it leads."""
    [found] = [(one.button, one.url) for one in client.get("/").context["steps"] if one.url]
    return found


def test_each_step_names_the_next_one_and_all_go_away_once_they_are_done(
    admin: Client, member: Client, world: Integration
) -> None:
    hooks = f"{world.get_absolute_url()}#hooks"
    assert button(admin) == ("Create hooks", hooks)
    assert f'<a class="button primary" href="{hooks}" id="step-2">Create hooks</a>' in text_of(
        admin
    )
    assert "An admin creates them." in text_of(member)
    hook = world.subscriptions.create(external_id="1", event_type="git.push", project_id="p")
    assert button(member) == ("Create the first stack", "/stacks/new/")
    stack = make_stack(world.repositories.get())
    assert button(member) == ("Open the stacks", "/stacks/")
    make_run(stack, state="finished")
    assert member.get("/").context["steps"] == []
    assert "First steps" not in text_of(member)
    hook.delete()
    assert open_steps(member) == ["Create hooks"]
    world.projects.update(is_left_alone=True)
    assert open_steps(member) == []


def test_deliveries_to_a_former_link_do_not_count(
    member: Client, stack: Stack, organization: Organization, token: str
) -> None:
    deliver(stack.integration)
    assert "Create hooks" not in open_steps(member)
    unlink(stack.integration)
    assert "Create hooks" in open_steps(member)
    again = make_integration(organization.url, token)
    assert again.pk == stack.integration.pk
    assert "Create hooks" in open_steps(member)
    deliver(again)
    assert "Create hooks" not in open_steps(member)


def test_hooks_that_have_to_be_recreated_are_named_until_their_events_come(
    admin: Client, member: Client, world: Integration
) -> None:
    world.subscriptions.create(
        external_id="1",
        event_type="git.push",
        project_id=world.repositories.get().project_id,
        is_of_before=True,
    )
    Integration.objects.update(linked_at=timezone.now() - timedelta(hours=1))
    [notice] = admin.get("/").context["notices"]
    assert notice.text == "Service hooks have to be set up again"
    assert str(world) in notice.detail
    assert not notice.is_error
    assert notice.url == world.get_absolute_url()
    assert "Create these service hooks again." in admin.get(notice.url).content.decode()
    [notice] = member.get("/").context["notices"]
    assert notice.text == "Service hooks have to be set up again"
    assert notice.url == "/settings/vcs-providers/"

    deliver(world)
    watch(world.hook_watch)
    assert notices(member) == []


def test_a_failing_integration_is_named_with_cause_and_fix(
    admin: Client, member: Client, world: Integration, emulator: Emulator
) -> None:
    emulator.faults.add("token-expired")
    admin.post(f"/settings/vcs-providers/{world.pk}/test/")
    [notice] = member.get("/").context["notices"]
    assert notice.text == f"Connecting to {world} failed"
    assert notice.is_error
    assert notice.detail.startswith("The token has expired. Create a new token")
    assert "retries" not in notice.detail
    assert "Needs attention</h2>" in text_of(member)
    emulator.faults.clear()
    admin.post(f"/settings/vcs-providers/{world.pk}/test/")
    assert notices(member) == []


def test_one_that_is_retried_says_so(admin: Client, world: Integration, emulator: Emulator) -> None:
    emulator.faults.add("unavailable")
    admin.post(f"/settings/vcs-providers/{world.pk}/test/")
    [notice] = admin.get("/").context["notices"]
    assert notice.detail.endswith("Stackhook retries automatically.")
    assert not notice.is_error


@pytest.mark.parametrize(
    ("days", "words", "is_error"),
    [
        (31, None, False),
        (30, "ends in 30 days", False),
        (2, "ends in 2 days", False),
        (1, "ends tomorrow", False),
        (0, "ends today", False),
        (-1, "has ended", True),
    ],
)
def test_the_end_of_a_token_is_announced(
    admin: Client, world: Integration, days: int, words: str | None, is_error: bool
) -> None:
    today = timezone.now().date()
    Integration.objects.update(token_expires_on=today + timedelta(days=days))
    with time_machine.travel(datetime.combine(today, time(23, 59), UTC), tick=False):
        Integration.objects.update(due_at=timezone.now())
        found = admin.get("/").context["notices"]
    expected = [f"The token of {world} {words}"] if words else []
    assert [notice.text for notice in found] == expected
    assert [notice.is_error for notice in found] == ([is_error] if words else [])


def test_a_token_without_a_date_is_not_announced(admin: Client, world: Integration) -> None:
    Integration.objects.update(token_expires_on=None)
    assert notices(admin) == []


def test_an_admin_is_led_to_the_form_and_a_member_to_the_card(
    admin: Client, member: Client, world: Integration
) -> None:
    Integration.objects.update(token_expires_on=date(2020, 1, 1))
    urls = [client.get("/").context["notices"][0].url for client in (admin, member)]
    providers = "/settings/vcs-providers/"
    assert urls == [f"{providers}{world.pk}/edit/", providers]


def test_detached_stacks_are_counted(member: Client, stack: Stack, world: Integration) -> None:
    repository = world.repositories.get()
    unlink(world)
    assert notices(member) == ["1 stack is detached"]
    make_stack(repository, "Another")
    assert notices(member) == ["2 stacks are detached"]


def test_a_branch_that_is_gone_is_named(
    member: Client, stack: Stack, repository: Repository
) -> None:
    Stack.objects.update(branch="feature/network")
    repository.delete_branch("feature/network")
    member.post("/stacks/network/head/")
    [notice] = member.get("/").context["notices"]
    assert notice.text == "The tracked branch of Network is gone"
    assert notice.url == "/stacks/network/"


@pytest.mark.parametrize(("minutes", "is_late"), [(4, False), (6, True)])
def test_a_worker_that_does_not_take_up_work_is_noticed(
    member: Client, world: Integration, minutes: int, is_late: bool
) -> None:
    Integration.objects.update(due_at=timezone.now() - timedelta(minutes=minutes))
    assert ("The background worker doesn't appear to be running" in notices(member)) == is_late
    refresh_next()
    assert notices(member) == []


def test_a_double_link_is_named(admin: Client, world: Integration, emulator: Emulator) -> None:
    double = store_integration("double", duplicate_of=world)
    [notice] = admin.get("/").context["notices"]
    assert notice.text == f"{double.organization_url} is the same organization as another link"
    assert "“fabrikam” is used" in notice.detail


# Deliveries that wait


def wait(
    integration: Integration, *, received: timedelta, due: timedelta, reason: str = ""
) -> None:
    """Store a delivery that waits, its times counted from now."""
    now = timezone.now()
    Delivery.objects.create(
        integration=integration,
        outcome="stored",
        body=b"{}",
        received_at=now + received,
        due_at=now + due,
        reason=reason,
    )


LONG_AGO, JUST_NOW, SOON = timedelta(minutes=-6), timedelta(minutes=-4), timedelta(minutes=3)


def test_deliveries_that_nobody_takes_up_are_a_notice(
    admin: Client, member: Client, linked: Integration
) -> None:
    wait(linked, received=JUST_NOW, due=JUST_NOW)
    assert notices(member) == []
    wait(linked, received=LONG_AGO, due=LONG_AGO)
    assert notices(member) == ["Deliveries wait to be processed"]
    page = admin.get("/").content.decode()
    assert "manage.py background_worker" in page
    list_of_waiting = f"/settings/vcs-providers/{linked.pk}/deliveries/?outcome=stored"
    assert f'href="{list_of_waiting}"' in page
    assert list_of_waiting not in member.get("/").content.decode()
    Delivery.objects.update(due_at=None)
    assert notices(member) == []


def test_deliveries_that_wait_for_the_provider_say_so(member: Client, linked: Integration) -> None:
    down = "Waiting: Azure DevOps is down (HTTP 503)."
    wait(linked, received=JUST_NOW, due=SOON, reason=down)
    assert notices(member) == []
    wait(linked, received=LONG_AGO, due=SOON, reason=down)
    assert notices(member) == ["Deliveries of Azure DevOps · fabrikam wait"]
    assert f"{down} Stackhook retries" in member.get("/").content.decode()


def test_a_worker_that_does_not_run_is_said_once(member: Client, linked: Integration) -> None:
    wait(linked, received=LONG_AGO, due=LONG_AGO)
    Integration.objects.update(due_at=timezone.now() + LONG_AGO)
    assert notices(member) == ["The background worker doesn't appear to be running"]


# What pages cost


@pytest.fixture
def crowd(emulator: Emulator, organization: Organization, db: None) -> World:
    """Three integrations with repositories and hooks, 200 stacks, 500 deliveries."""
    world: Any = None
    for name in ("fabrikam", "contoso", "adventure"):
        one = organization if name == "fabrikam" else emulator.add_organization(name)
        integration = make_integration(one.url, one.add_token())
        world = world or make_world(integration)
        repositories = StoredRepository.objects.bulk_create(
            StoredRepository(
                integration=integration,
                external_id=f"{name}-{number}",
                name=f"r{number}",
                project_id=f"p{number % 30}",
                project_name=f"P{number % 30}",
                search_text=f"p{number % 30}/r{number}",
                default_branch="main",
            )
            for number in range(100)
        )
        Subscription.objects.bulk_create(
            Subscription(
                integration=integration,
                external_id=f"h{number}",
                event_type="git.push",
                project_id=f"p{number}",
                removed_at=timezone.now(),
            )
            for number in range(20)
        )
        Stack.objects.bulk_create(
            Stack(
                name=f"{name} {number}",
                slug=f"{name}-{number}",
                repository=repositories[number],
                branch="main",
                search_text=f"{name} {number}",
                labels=["a", "b"],
                branch_gone_at=timezone.now() if number % 10 == 0 else None,
            )
            for number in range(67)
        )
        Delivery.objects.bulk_create(
            Delivery(
                integration=integration,
                outcome="stored",
                event_type="git.push",
                project_id=f"p{number % 10}",
                body=b"{}",
            )
            for number in range(167)
        )
    found: World = world
    return found


def test_no_page_takes_many_queries(admin: Client, crowd: World) -> None:
    costs = {}
    for path in crowd.paths():
        with CaptureQueriesContext(connection) as queries:
            admin.get(path)
        costs[path] = len(queries)
    assert {path: cost for path, cost in costs.items() if cost > 12} == {}
    assert costs["/stacks/"] > 3  # they were counted


def test_reports_that_fail_again_and_again_are_named(
    admin: Client, member: Client, stack: Stack, repository: Repository
) -> None:
    assert follow_from_now(stack) is None
    repository.push({"main.tf": "2"})
    look(stack)
    Report.objects.update(failures=2, problem="It may not write statuses.")
    assert notices(admin) == []
    Report.objects.update(failures=3)
    expected = [f"Runs can't be reported to {stack.integration}"]
    assert notices(admin) == notices(member) == expected


def test_branches_that_are_gone_are_named_for_a_few_stacks(
    member: Client, linked: Integration
) -> None:
    for number in range(7):
        make_stack(linked, f"Stack {number}", branch_gone_at=timezone.now())
    assert notices(member) == [
        *(f"The tracked branch of Stack {number} is gone" for number in range(5)),
        "More stacks lost their tracked branch",
    ]
    assert 'href="/stacks/?show=gone"' in text_of(member)
