"""Reports reach Azure DevOps whatever fails on the way, and nothing is sent twice."""

from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
import time_machine
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from stacks.models import Report, Stack
from stacks.models.report import LEASE, ReportState, What
from stacks.reports import sending
from stacks.reports.sending import send_next
from stacks.rules.states import State
from stacks.sources.heads import follow_from_now
from tests.emulator import Emulator
from tests.emulator.model import Organization, Repository
from tests.emulator.pull_requests import PullRequest
from tests.killing import killed_at
from tests.stacks.reports.sender import (
    TO_PLAN,
    look,
    make_reports_due,
    move,
    newest,
    send_all,
    summaries,
)
from vcs_integrations.connections.linking import replace_token
from vcs_integrations.models import Integration
from vcs_integrations.providers.azure_devops import client as azure_devops
from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.base import Problem, ProviderError


@pytest.fixture
def following(stack: Stack) -> Stack:
    """The stack of `main` from now on, whatever files change."""
    assert follow_from_now(stack) is None
    Stack.objects.update(path_rule=False)
    return stack


@pytest.fixture
def sha(following: Stack, repository: Repository) -> str:
    """A commit whose status waits to be sent."""
    pushed = repository.push({"main.tf": "2"})
    look(following)
    return pushed


@pytest.fixture
def opened(following: Stack, repository: Repository) -> PullRequest:
    """A pull request whose run is planned, and nothing is reported."""
    repository.push({"topic.tf": "1"}, "topic")
    one = repository.open_pull_request("topic")
    look(following)
    move(newest(following), *TO_PLAN, State.FINISHED)
    return one


def posts(emulator: Emulator) -> int:
    """Return how many requests came that post or change something."""
    return len([one for one in emulator.requests if one.method in {"POST", "PATCH"}])


def arrived(one: PullRequest, repository: Repository) -> dict[What, int]:
    """Return how many things of each kind the emulator has of a pull request and its commit."""
    return {
        What.COMMIT_STATUS: len(repository.statuses.get(one.source_commit, [])),
        What.PULL_REQUEST_STATUS: len(one.statuses),
        What.COMMENT: len(one.threads),
    }


def test_what_is_known_is_not_posted_again(opened: PullRequest, emulator: Emulator) -> None:
    send_all()
    posted = posts(emulator)
    assert posted == 3
    Report.objects.all().renew()
    send_all()
    assert posts(emulator) == posted
    assert not Report.objects.waiting().exists()


@pytest.mark.parametrize("what", What.values)
def test_what_arrived_without_an_answer_is_not_posted_again(
    opened: PullRequest, emulator: Emulator, repository: Repository, what: str
) -> None:
    Report.objects.exclude(what=what).delete()
    path = r"threads|statuses"
    emulator.faults.add("lost-answer", path=path, times=1)
    send_all()
    [report] = Report.objects.all()
    assert (report.state, report.is_uncertain, report.failures) == ("waiting", True, 1)
    assert "cut" in report.problem
    make_reports_due()
    send_all()
    report.refresh_from_db()
    assert (report.state, report.is_uncertain, report.failures) == ("sent", False, 0)
    assert arrived(opened, repository) == {key: int(key == what) for key in What}


def test_the_comment_that_arrived_without_an_answer_is_edited_later(
    opened: PullRequest, following: Stack, emulator: Emulator
) -> None:
    emulator.faults.add("lost-answer", path="threads", times=1)
    send_all()
    opened.push({"topic.tf": "2"})
    look(following)
    move(newest(following), *TO_PLAN, State.FINISHED)
    make_reports_due()
    send_all()
    [thread] = opened.threads
    assert "Run 2 finished" in thread.comments[0].content


def test_an_older_revisions_same_words_are_not_mistaken_for_the_newer_ones(
    following: Stack, emulator: Emulator, repository: Repository
) -> None:
    Stack.objects.update(path_rule=True, project_root="infra")
    repository.push({"docs/a.md": "1"}, "topic")
    one = repository.open_pull_request("topic")
    look(following)
    send_all()
    one.push({"docs/a.md": "2"})
    look(following)
    emulator.faults.add("server-error", path="statuses", times=1)
    send_all()
    make_reports_due()
    send_all()
    assert [status.iteration_id for status in one.statuses] == [1, 2]


@pytest.mark.on_postgresql
def test_a_failure_is_repeated_less_and_less_often(
    sha: str, emulator: Emulator, repository: Repository
) -> None:
    emulator.faults.add("server-error")
    waits = []
    for attempt in range(1, 12):
        assert send_next()
        [report] = Report.objects.all()
        assert (report.failures, report.lease_until) == (attempt, None)
        assert report.due_at
        waits.append((report.due_at - timezone.now()).total_seconds())
        assert not send_next()
        make_reports_due()
    for number, wait in enumerate(waits):
        full = min(5 * 2**number, 300)
        assert full / 2 - 1 < wait <= full
    assert len({round(wait / min(5 * 2**n, 300), 3) for n, wait in enumerate(waits)}) > 1
    assert report.problem == "Azure DevOps is down or in trouble (HTTP 500)."
    emulator.faults.clear()
    send_all()
    assert summaries(repository.statuses[sha]) == [("pending", "Run 1 waits for its turn")]
    report.refresh_from_db()
    assert (report.problem, report.failures) == ("", 0)


def test_one_that_fails_holds_up_no_other(
    opened: PullRequest, emulator: Emulator, repository: Repository
) -> None:
    emulator.faults.add("server-error", path="pullRequests")
    send_all()
    assert summaries(repository.statuses[opened.source_commit]) == [("succeeded", "Run 1 finished")]
    assert Report.objects.waiting().count() == 2


@pytest.mark.parametrize(
    ("fault", "seconds"), [("throttled", 90), ("unavailable", 120), ("stopped", 600)]
)
def test_nothing_is_sent_while_azure_devops_asks_to_wait(
    opened: PullRequest, emulator: Emulator, fault: str, seconds: int
) -> None:
    emulator.faults.add(fault, seconds=seconds, times=1)
    send_all()
    asked = len(emulator.requests)
    with time_machine.travel(timezone.now() + timedelta(seconds=seconds - 5)):
        assert not send_next()
    azure_devops.resume_times.clear()  # the time is over, also for the client
    with time_machine.travel(timezone.now() + timedelta(seconds=seconds + 5)):
        send_all()
    assert len(emulator.requests) > asked
    assert not Report.objects.waiting().exists()


def test_reports_are_not_read_while_no_organization_takes_any(
    opened: PullRequest, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    Integration.objects.update(reports_held_until=timezone.now() + timedelta(minutes=1))
    with django_assert_num_queries(1) as asked:
        assert not send_next()
    assert Report._meta.db_table not in asked[0]["sql"]
    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        send_all()
    assert not Report.objects.waiting().exists()


def test_an_organization_that_takes_no_reports_holds_up_no_other(opened: PullRequest) -> None:
    held_until = timezone.now() + timedelta(minutes=1)
    Integration.objects.create(
        provider_key="azure_devops", organization_key="away", reports_held_until=held_until
    )
    send_all()
    assert not Report.objects.waiting().exists()


@pytest.mark.parametrize("fault", ["token-expired", "credentials-203", "reset", "not-azure-devops"])
def test_what_would_fail_for_all_reports_is_tried_with_one(
    opened: PullRequest, emulator: Emulator, integration: Integration, fault: str
) -> None:
    emulator.faults.add(fault)
    before = len(emulator.requests)
    send_all()
    assert len(emulator.requests) == before + 1
    emulator.faults.clear()
    make_reports_due()
    send_all()
    assert not Report.objects.waiting().exists()


def test_a_wrong_token_has_the_organization_refreshed(
    sha: str, emulator: Emulator, integration: Integration, organization: Organization
) -> None:
    organization.tokens.clear()
    send_all()
    integration.refresh_from_db()
    assert integration.due_at
    assert integration.due_at <= timezone.now()
    replace_token(integration, organization.add_token({"vso.code_write"}))
    make_reports_due()
    send_all()
    assert not Report.objects.waiting().exists()


def test_reports_of_an_unlinked_organization_wait(
    sha: str, integration: Integration, repository: Repository
) -> None:
    Integration.objects.update(unlinked_at=timezone.now())
    assert not send_next()
    Integration.objects.update(unlinked_at=None)
    send_all()
    assert len(repository.statuses[sha]) == 1


def test_what_changes_while_it_is_sent_is_sent_too(
    sha: str, following: Stack, repository: Repository
) -> None:
    really_post = AzureDevOpsClient.create_commit_status

    def post(*arguments: Any) -> None:
        really_post(*arguments)
        if len(repository.statuses[sha]) == 1:
            move(newest(following), *TO_PLAN)

    with mock.patch.object(AzureDevOpsClient, "create_commit_status", post):
        assert send_next()
    assert Report.objects.waiting().count() == 1
    send_all()
    assert [text for _, text in summaries(repository.statuses[sha])] == [
        "Run 1 waits for its turn",
        "Run 1 is planning",
    ]


@pytest.mark.on_postgresql
def test_what_another_worker_sends_is_left_to_it(sha: str) -> None:
    Report.objects.update(lease_until=timezone.now() + LEASE)
    Report.objects.all().renew()
    assert not send_next()
    with time_machine.travel(timezone.now() + LEASE + timedelta(seconds=1)):
        assert send_next()


@pytest.mark.on_postgresql
def test_the_statuses_of_a_pull_request_go_in_the_order_of_its_revisions(
    opened: PullRequest, following: Stack, emulator: Emulator
) -> None:
    emulator.faults.add("server-error", path=f"pullRequests/{opened.id}/statuses", times=1)
    send_all()
    opened.push({"topic.tf": "2"})
    look(following)
    send_all()
    assert opened.statuses == []  # the older one's is waited for
    make_reports_due()
    send_all()
    assert [one.iteration_id for one in opened.statuses] == [1, 2]


@pytest.mark.parametrize("fault", ["permission-denied", "repository-missing"])
def test_whatever_a_closed_pull_request_answers_is_final(
    opened: PullRequest, emulator: Emulator, fault: str
) -> None:
    Report.objects.exclude(what=What.PULL_REQUEST_STATUS).delete()
    opened.abandon()
    emulator.faults.add(fault, path="/statuses", times=1)
    send_all()
    [report] = Report.objects.all()
    assert (report.state, report.problem) == ("refused", f"Pull request {opened.id} is closed.")


def test_a_permission_that_is_missing_is_waited_for(
    opened: PullRequest, emulator: Emulator
) -> None:
    emulator.faults.add("permission-denied", path="/statuses")
    send_all()
    waiting = Report.objects.waiting()
    assert waiting.count() == 2
    begin = "The token's owner lacks a permission to post the"
    assert {one.problem for one in waiting} == {
        f"{begin} commit's status.",
        f"{begin} pull request's status.",
    }
    emulator.faults.clear()
    make_reports_due()
    send_all()
    assert not Report.objects.waiting().exists()


@pytest.mark.on_postgresql
def test_a_commit_that_is_not_there_is_given_up_after_an_hour(sha: str) -> None:
    Report.objects.update(sha="a" * 40)
    Stack.objects.get().runs.update(sha="a" * 40)
    send_all()
    [report] = Report.objects.all()
    assert report.state == ReportState.WAITING
    Report.objects.update(failures=sending.WAITING_ATTEMPTS + 1)
    make_reports_due()
    send_all()
    report.refresh_from_db()
    assert report.state == ReportState.REFUSED


def test_a_fault_of_our_own_is_logged_and_holds_up_no_other_report(
    opened: PullRequest, caplog: pytest.LogCaptureFixture
) -> None:
    with mock.patch.object(sending, "comment_for", side_effect=ValueError):
        send_all()
    [report] = Report.objects.waiting()
    assert report.what == What.COMMENT
    assert "could not be reported" in caplog.text
    make_reports_due()
    send_all()
    assert len(opened.threads) == 1


# Comments of another account


BO = "Bo Builder"


@pytest.fixture
def of_another(
    opened: PullRequest, following: Stack, integration: Integration, organization: Organization
) -> PullRequest:
    """A pull request with a comment, whose token was replaced since by another person's."""
    send_all()
    replace_token(integration, organization.add_token({"vso.code_write"}, user=BO))
    opened.push({"topic.tf": "2"})
    look(following)
    move(newest(following), *TO_PLAN, State.FINISHED)
    return opened


def begins(one: PullRequest) -> list[tuple[str, str]]:
    """Return who wrote each comment, and which run it is about."""
    comments = [thread.comments[0] for thread in one.threads]
    return [(each.author.name, each.content.split(": ")[1][:5]) for each in comments]


def test_a_comment_that_can_not_be_edited_is_replaced_by_a_new_one(
    of_another: PullRequest, following: Stack, member: Client
) -> None:
    send_all()
    assert begins(of_another) == [("Ann Admin", "Run 1"), (BO, "Run 2")]
    today = timezone.now().date()
    said = f"The comment of {today} on Pull request {of_another.id} could not be edited"
    first, second = following.runs.order_by("number")
    assert said in member.get(first.get_absolute_url()).content.decode()
    assert "could not be edited" not in member.get(second.get_absolute_url()).content.decode()
    of_another.push({"topic.tf": "3"})
    look(following)
    move(newest(following), *TO_PLAN, State.FINISHED)
    send_all()
    assert begins(of_another) == [("Ann Admin", "Run 1"), (BO, "Run 3")]
    assert [run.note.count("could not be edited") for run in following.runs.all()] == [0, 0, 1]
    assert not Report.objects.exclude(state=ReportState.SENT).exists()


def test_where_a_new_comment_is_refused_too_the_report_is_refused(
    of_another: PullRequest, organization: Organization, following: Stack
) -> None:
    Report.objects.exclude(what=What.COMMENT).delete()
    organization.deny(BO, "contribute_to_pull_requests")
    send_all()
    [report] = Report.objects.all()
    assert (report.state, report.problem) == (
        "waiting",
        "The token's owner lacks a permission to post the comment.",
    )
    refusal = ProviderError(Problem.REFUSED, "It refused.", "Do something.")
    organization.allow(BO, "contribute_to_pull_requests")
    make_reports_due()
    with mock.patch.object(AzureDevOpsClient, "create_thread", side_effect=refusal):
        send_all()
    report.refresh_from_db()
    assert (report.state, report.thread_id) == ("refused", of_another.threads[0].id)
    assert not any(run.note for run in following.runs.all())


def test_statuses_go_on_whoever_posted_those_before(
    of_another: PullRequest, repository: Repository
) -> None:
    Report.objects.update(is_uncertain=True)
    send_all()
    assert summaries(of_another.statuses) == [("succeeded", f"Run {n} finished") for n in (1, 2)]
    assert summaries(repository.statuses[of_another.source_commit]) == [
        ("succeeded", "Run 2 finished")
    ]
    assert repository.statuses[of_another.source_commit][0].created_by.name == BO


@pytest.mark.parametrize("user", ["Ann Admin", BO])
def test_a_comment_in_a_thread_of_any_status_is_edited_or_replaced(
    opened: PullRequest,
    following: Stack,
    integration: Integration,
    organization: Organization,
    user: str,
) -> None:
    send_all()
    opened.threads[0].update("wontFix")
    replace_token(integration, organization.add_token({"vso.code_write"}, user=user))
    opened.push({"topic.tf": "2"})
    look(following)
    move(newest(following), *TO_PLAN, State.FINISHED)
    send_all()
    assert begins(opened)[-1] == (user, "Run 2")


@pytest.mark.on_postgresql
def test_a_comment_that_azure_devops_refuses_to_edit_is_replaced(
    opened: PullRequest, following: Stack, emulator: Emulator
) -> None:
    send_all()
    opened.push({"topic.tf": "2"})
    look(following)
    move(newest(following), *TO_PLAN, State.FINISHED)
    emulator.faults.add("refused", path="/comments/", times=1)
    send_all()
    assert begins(opened) == [("Ann Admin", "Run 1"), ("Ann Admin", "Run 2")]
    assert [run.note.count("could not be edited") for run in following.runs.all()] == [0, 1]
    assert not Report.objects.exclude(state=ReportState.SENT).exists()


@pytest.mark.parametrize("fault", ["comment-missing", "comment-deleted"])
def test_a_comment_that_a_person_deleted_is_posted_again_at_once(
    opened: PullRequest, following: Stack, emulator: Emulator, fault: str
) -> None:
    send_all()
    if fault == "comment-deleted":
        opened.threads[0].delete(1)
    else:
        emulator.faults.add("comment-missing", path="/comments/", times=1)
    opened.push({"topic.tf": "2"})
    look(following)
    move(newest(following), *TO_PLAN, State.FINISHED)
    send_all()
    assert len(opened.threads) == 2
    assert "Run 2" in opened.threads[1].comments[0].content
    assert not any(run.note for run in following.runs.all())


def test_a_missing_permission_of_the_comments_author_posts_no_other(
    opened: PullRequest, following: Stack, organization: Organization
) -> None:
    send_all()
    organization.deny("Ann Admin", "contribute_to_pull_requests")
    Report.objects.update(sent="", due_at=timezone.now(), state=ReportState.WAITING)
    send_all()
    organization.allow("Ann Admin", "contribute_to_pull_requests")
    make_reports_due()
    send_all()
    assert len(opened.threads) == 1


@pytest.mark.on_postgresql
def test_a_comment_of_another_account_that_was_deleted_is_posted_once(
    of_another: PullRequest, following: Stack
) -> None:
    of_another.threads[0].delete(1)
    send_all()
    make_reports_due()
    send_all()
    assert [thread.is_deleted for thread in of_another.threads] == [True, False]
    assert not any(run.note for run in following.runs.all())


@pytest.mark.on_postgresql
def test_a_worker_killed_while_it_replaces_a_comment_posts_one(
    of_another: PullRequest, following: Stack
) -> None:
    Report.objects.exclude(what=What.COMMENT).delete()
    point = 0
    while Report.objects.waiting().exists():
        with killed_at(point, also_after_calls=True):
            send_all()
        make_reports_due()
        point += 1
    assert point > 12
    assert begins(of_another) == [("Ann Admin", "Run 1"), (BO, "Run 2")]
    assert [run.note.count("could not be edited") for run in following.runs.all()] == [0, 1]


# Killed workers


@pytest.mark.on_postgresql
@pytest.mark.parametrize("what", What.values)
def test_a_killed_worker_posts_nothing_twice(
    opened: PullRequest, repository: Repository, what: str
) -> None:
    Report.objects.exclude(what=what).delete()
    point = 0
    while Report.objects.waiting().exists():
        with killed_at(point, also_after_calls=True):
            send_all()
        make_reports_due()
        point += 1
    assert point > 8
    assert arrived(opened, repository)[What(what)] == 1
