"""The pages about reports: what waits and why, and the name for a branch policy."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from stacks.models import Report, Stack
from stacks.models.report import ReportState
from stacks.sources.heads import follow_from_now
from tests.emulator import Emulator
from tests.emulator.model import Repository
from tests.stacks.reports.sender import look, send_all
from vcs_integrations.models import Integration


@pytest.fixture
def waiting(stack: Stack, repository: Repository, integration: Integration) -> str:
    """The address of the reports' page; one waits, of a commit."""
    assert follow_from_now(stack) is None
    Stack.objects.update(path_rule=False)
    repository.push({"main.tf": "2"})
    look(stack)
    return reverse("stacks:reports", args=[integration.pk])


def text(client: Client, address: str) -> str:
    """Return a page's text with single spaces."""
    return " ".join(client.get(address).content.decode().split())


def test_the_card_counts_what_waits_and_says_why(
    waiting: str, admin: Client, member: Client, integration: Integration, emulator: Emulator
) -> None:
    card = integration.get_absolute_url()
    assert "1 waiting, the oldest from" in text(admin, card)
    assert "failed so far" not in text(admin, card)
    emulator.faults.add("server-error", times=1)
    send_all()
    for page in (text(admin, card), text(member, reverse("integrations:list"))):
        assert "1 failed so far" in page
        assert (
            "Azure DevOps is down or in trouble (HTTP 500). Stackhook retries automatically" in page
        )
    Report.objects.update(due_at=timezone.now())
    send_all()
    assert "nothing waits" in text(admin, card)


def test_the_card_says_nothing_of_what_was_refused(
    waiting: str, admin: Client, integration: Integration
) -> None:
    report = Report.objects.get()
    Report.objects.create(
        what=report.what,
        name=report.name,
        repository=report.repository,
        sha="1" * 40,
        state=ReportState.REFUSED,
        failures=1,
        problem="Azure DevOps refused it.",
    )
    card = text(admin, integration.get_absolute_url())
    assert "1 waiting, the oldest from" in card
    assert "refused it" not in card


def test_the_page_shows_each_report_that_waits(
    waiting: str, admin: Client, repository: Repository, emulator: Emulator
) -> None:
    emulator.faults.add("throttled", seconds=120, times=1)
    send_all()
    page = text(admin, waiting)
    assert f"/commit/{repository.sha('main')}" in page
    assert "1 time<" in page
    assert "Nothing is sent until" in page
    assert "throttles the token" in page


@pytest.mark.on_postgresql
def test_retry_now_sends_at_once_what_would_wait(
    waiting: str, admin: Client, emulator: Emulator
) -> None:
    emulator.faults.add("server-error", times=1)
    send_all()
    assert Report.objects.due().count() == 0
    retry = waiting + "retry/"
    assert admin.get(retry).status_code == 302
    assert Report.objects.due().count() == 0
    answer = admin.post(retry, follow=True)
    assert "The worker sends 1 report now" in answer.content.decode()
    send_all()
    assert not Report.objects.waiting().exists()
    assert "Nothing waits" in admin.post(retry, follow=True).content.decode()


def test_retry_now_does_not_hurry_an_azure_devops_that_asks_to_wait(
    waiting: str, admin: Client, emulator: Emulator
) -> None:
    emulator.faults.add("throttled", seconds=120, times=1)
    send_all()
    admin.post(waiting + "retry/")
    assert Report.objects.due().count() == 0


def test_what_was_refused_says_why(waiting: str, admin: Client) -> None:
    long_ago = timezone.now() - timedelta(hours=2)
    Report.objects.update(state=ReportState.REFUSED, problem="It is gone.", failed_at=long_ago)
    page = text(admin, waiting)
    assert "It is gone." in page
    assert "2 h ago" in page


def test_members_see_no_page_of_reports(waiting: str, member: Client) -> None:
    assert member.get(waiting).status_code == 403
    assert member.post(waiting + "retry/").status_code == 403


def test_the_stack_shows_the_name_for_a_branch_policy(
    waiting: str, admin: Client, member: Client, stack: Stack, integration: Integration
) -> None:
    assert 'data-copy="stackhook/network"' in text(member, stack.get_absolute_url())
    form = {"name": "Ours", "description": "", "token": "", "token_expires_on": ""}
    edit = reverse("integrations:edit", args=[integration.pk])
    admin.post(edit, form | {"reports_all_stacks_at_once": "on"})
    assert 'data-copy="stackhook/all"' in text(member, stack.get_absolute_url())
    assert "checked" in text(admin, edit)
    admin.post(edit, form)
    assert 'data-copy="stackhook/network"' in text(member, stack.get_absolute_url())
