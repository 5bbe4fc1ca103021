"""Deliveries of the emulator's hooks, through the endpoint and the queue, to runs."""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from stacks.deciding import pushes
from stacks.deciding.intake import decide_events
from stacks.deciding.planning import plan_next
from stacks.deciding.reconciliation import reconcile, reconcile_next
from stacks.models import Decision, Report, Run, Stack
from stacks.models.report import ReportState, What
from stacks.rules.states import IllegalMove, State
from stacks.sources.heads import follow_from_now
from tests.builders import make_repository, make_stack
from tests.emulator import Emulator
from tests.emulator.delivery import WebhookRequest
from tests.emulator.model import Organization, Repository
from vcs_integrations.models import Delivery, Integration
from vcs_integrations.models import Repository as OurRepository
from vcs_integrations.providers.events import PullRequestChanged, RefChanged, RemoteCommit
from vcs_integrations.webhooks import processing
from vcs_integrations.webhooks.processing import WAITING_ATTEMPTS, process_due, replay

ELSEWHERE = RemoteCommit("1" * 40, "There", "Ann Admin", None)
EVENTS = (
    "git.push",
    "git.pullrequest.created",
    "git.pullrequest.merged",
    "git.pullrequest.updated",
)


@pytest.fixture
def hooks(
    integration: Integration, organization: Organization, repository: Repository, emulator: Emulator
) -> Iterator[Callable[..., None]]:
    """Return how to make the four hooks; what they send is held back."""
    emulator.deliveries.hold()

    def make(details: str = "all") -> None:
        for event in EVENTS:
            password = integration.read_webhook_secret().value
            url = integration.endpoint_url
            organization.add_subscription(
                repository.project, event, url, password, resourceDetailsToSend=details
            )

    yield make
    emulator.deliveries.drop()


@pytest.fixture
def following(stack: Stack, hooks: Callable[..., None]) -> Stack:
    """The stack of `main`, from now on, with hooks that send all events."""
    hooks()
    follow_from_now(stack)
    return stack


def deliver(emulator: Emulator, late: Sequence[WebhookRequest] = ()) -> list[Delivery]:
    """Hand over what the hooks sent, and process it; return the deliveries."""
    before = Delivery.objects.count()
    receive(emulator, late)
    while process_due():
        pass
    return list(Delivery.objects.order_by("pk")[before:])


def receive(emulator: Emulator, late: Sequence[WebhookRequest] = ()) -> None:
    """Hand over what the hooks sent."""
    for request in [*late, *emulator.deliveries.take()]:
        path = re.sub(r"^https?://[^/]+", "", request.url)
        headers = {**request.headers, "X-Forwarded-Proto": "https"}
        answer = Client().post(path, request.body, content_type="application/json", headers=headers)
        assert answer.status_code == 200, answer.content


def due_again() -> None:
    """Let the time come at which postponed deliveries are tried again."""
    Delivery.objects.waiting().update(due_at=timezone.now(), lease_until=timezone.now())


def runs(stack: Stack) -> list[tuple[str, str, str]]:
    return [(run.kind, run.message, run.state) for run in stack.runs.order_by("number")]


def test_a_webhook_with_another_name_has_the_names_read_again(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    Integration.objects.update(succeeded_at=timezone.now() - timedelta(minutes=5))
    repository.push({"a.tf": "1"})
    with CaptureQueriesContext(connection) as queries:
        deliver(emulator)
    assert not Integration.objects.due().exists()
    begins = 'SELECT "vcs_integrations_repository"."id"'
    asked = [one["sql"] for one in queries if one["sql"].startswith(begins)]
    assert len(asked) == 2  # to find its stacks, and to lock it
    repository.rename("foundation")
    repository.push({"a.tf": "2"})
    deliver(emulator)
    assert Integration.objects.due().exists()


def test_push_and_pull_request_become_one_run_each(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push({"a.tf": "1"}, branch="topic", message="First")
    one = repository.open_pull_request("topic")
    one.push({"a.tf": "2"}, "Second")
    one.vote("Bo Builder", 10)
    one.complete()
    deliver(emulator)
    # The pull request was read when it was completed already.
    assert runs(following) == [
        ("proposed", "First", "superseded"),
        ("proposed", "Second", "canceled"),
        ("tracked", "Merged PR 1: Merge topic", "queued"),
    ]
    assert {run.is_reconciled for run in following.runs.all()} == {False}


@pytest.mark.parametrize("details", ["minimal", "none"])
def test_with_reduced_details_the_rest_is_read(
    stack: Stack,
    hooks: Callable[..., None],
    repository: Repository,
    emulator: Emulator,
    details: str,
) -> None:
    hooks(details)
    follow_from_now(stack)
    repository.push({"a.tf": "1"}, branch="topic", message="First")
    repository.open_pull_request("topic")
    repository.push({"main.tf": "2"}, message="Second")
    deliver(emulator)
    while reconcile_next():
        pass
    assert sorted(runs(stack)) == [
        ("proposed", "First", "queued"),
        ("tracked", "Second", "queued"),
    ]
    assert stack.runs.filter(sources__pull_request__number=1).count() == 1


def test_the_path_rule_reads_the_changed_files(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    Stack.objects.update(project_root="infra", extra_globs=["*.tfvars"])
    repository.push({"infrastructure/a.tf": "1"}, message="Elsewhere")
    repository.push({"infra/a.tf": "1"}, message="Inside")
    repository.push({"deep/x.tfvars": "1"}, message="A glob")
    delivered = deliver(emulator)
    assert [message for _, message, _ in runs(following)] == ["Inside", "A glob"]
    assert delivered[0].reason == "The changed path is not under infra and matches no extra glob."
    following.refresh_from_db()
    assert following.head_message == "A glob"


@pytest.mark.parametrize(
    ("globs", "path", "runs_it"),
    [
        (["modules/**/*.tf"], "modules/vpc.tf", True),
        (["**/*.tfvars"], "live.tfvars", True),
        (["**/*.md", "!docs/**"], "docs/deep/a.md", False),
        (["**/*.md", "!docs/**"], "modules/a.md", True),
    ],
)
def test_a_pull_request_runs_where_a_glob_matches_what_it_changes(
    following: Stack,
    repository: Repository,
    emulator: Emulator,
    globs: list[str],
    path: str,
    runs_it: bool,
) -> None:
    Stack.objects.update(project_root="infra", extra_globs=globs, pull_requests_only=True)
    repository.push({path: "1"}, "topic", "Beside it")
    repository.open_pull_request("topic")
    deliver(emulator)
    assert runs(following) == ([("proposed", "Beside it", "queued")] if runs_it else [])
    assert following.decisions.filter(rule="outside_project_root").exists() != runs_it


def test_a_path_moved_out_of_the_project_root_counts(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push({"infra/a.tf": "the same\ncontent\n"}, message="Inside")
    deliver(emulator)
    Stack.objects.update(project_root="infra")
    moved = {"infra/a.tf": None, "away.tf": "the same\ncontent\n"}
    repository.push(moved, message="Moved")
    deliver(emulator)
    assert runs(following)[-1] == ("tracked", "Moved", "queued")


def test_a_pull_request_that_only_deletes_a_file_of_the_project_root_is_run(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    Stack.objects.update(project_root="network", pull_requests_only=True)
    repository.push({"network/old.tf": "1", "docs/old.md": "1"})
    repository.push({"network/old.tf": None}, "topic", "Remove the network")
    repository.open_pull_request("topic")
    repository.push({"docs/old.md": None}, "docs", "Remove a page")
    repository.open_pull_request("docs")
    deliver(emulator)
    assert runs(following)[1:] == [("proposed", "Remove the network", "queued")]
    assert following.decisions.filter(rule="outside_project_root").count() == 1


def test_while_azure_devops_is_away_a_delivery_waits_and_says_why(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push({"a.tf": "1"}, message="Second")
    emulator.faults.add("unavailable")
    [delivery] = deliver(emulator)
    assert delivery.outcome == "stored"
    assert delivery.reason == "Waiting: Azure DevOps is down or in trouble (HTTP 503)."
    assert delivery.due_at
    assert delivery.due_at > timezone.now()
    assert runs(following) == []
    emulator.faults.clear()
    due_again()
    process_due()
    assert runs(following) == [("tracked", "Second", "queued")]


def test_after_an_hour_it_runs_without_knowing_the_changed_files(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    Stack.objects.update(project_root="infra")
    repository.push({"a.tf": "1"}, message="Second")
    emulator.faults.add("unavailable", path="/diffs")
    deliver(emulator)
    Delivery.objects.update(failures=WAITING_ATTEMPTS)
    due_again()
    process_due()
    [run] = following.runs.all()
    assert "not known" in run.note


def test_what_a_killed_worker_claimed_is_claimed_again(
    following: Stack, repository: Repository, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(deliveries: Sequence[Delivery]) -> None:
        raise Killed

    repository.push({"a.tf": "1"}, message="Second")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(processing, "process", kill)
        deliver(emulator)
    assert process_due() == 0  # it is somebody's for now
    due_again()
    assert process_due() == 1
    assert runs(following) == [("tracked", "Second", "queued")]


def test_a_fault_of_ours_holds_up_no_other_delivery(
    following: Stack, repository: Repository, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = pushes.decide

    def stumbles(stack: Stack, pushed: Sequence[pushes.Pushed]) -> list[Decision | None]:
        if any(one.change.position == repository.pushes[-2].id for one in pushed):
            raise ZeroDivisionError
        return decide(stack, pushed)

    repository.push({"a.tf": "1"}, message="First")
    repository.push({"a.tf": "2"}, message="Second")
    with monkeypatch.context() as patch:
        patch.setattr(pushes, "decide", stumbles)
        first, second = deliver(emulator)
    assert "fault of Stackhook's own" in first.reason
    assert second.outcome == "run"
    due_again()
    process_due()
    assert sorted(runs(following)) == [
        ("tracked", "First", "superseded"),
        ("tracked", "Second", "queued"),
    ]


# Pushes that come at once


def test_pushes_that_come_at_once_have_their_runs_in_their_order(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    for number in range(3):
        repository.push({"a.tf": f"{number}"}, message=f"Main {number}")
        repository.push({"b.tf": f"{number}"}, branch="topic", message=f"Topic {number}")
    deliveries = deliver(emulator)
    assert runs(following) == [
        ("tracked", "Main 0", "superseded"),
        ("proposed", "Topic 0", "superseded"),
        ("tracked", "Main 1", "superseded"),
        ("proposed", "Topic 1", "superseded"),
        ("tracked", "Main 2", "queued"),
        ("proposed", "Topic 2", "queued"),
    ]
    assert [one.reason for one in deliveries] == [f"Run {n} of Network" for n in range(1, 7)]
    following.refresh_from_db()
    assert (following.head_sha, following.head_message) == (repository.sha("main"), "Main 2")
    reported = Report.objects.filter(what=What.COMMIT_STATUS, stack=following)
    assert {one.sha for one in reported} == {run.sha for run in following.runs.all()}


def test_pushes_that_come_at_once_supersede_what_came_before_them(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push({"a.tf": "0"}, message="Main 0")
    repository.push({"a.tf": "0"}, branch="topic", message="Topic 0")
    deliver(emulator)
    Report.objects.update(state=ReportState.SENT)
    for number in (1, 2):
        repository.push({"a.tf": f"{number}"}, message=f"Main {number}")
        repository.push({"b.tf": f"{number}"}, branch="topic", message=f"Topic {number}")
    deliver(emulator)
    states = {message: state for _, message, state in runs(following)}
    assert {message for message, state in states.items() if state == "queued"} == {
        "Main 2",
        "Topic 2",
    }
    assert Report.objects.waiting().count() == Report.objects.count()


def test_of_pushes_that_come_at_once_each_waits_alone(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push({"a.tf": "1"}, message="First")
    repository.push({"a.tf": "2"}, message="Second")
    emulator.faults.add("unavailable", path=f"/pushes/{repository.pushes[-2].id}")
    first, second = deliver(emulator)
    assert (first.outcome, second.outcome) == ("stored", "run")
    assert runs(following) == [("tracked", "Second", "queued")]


def test_a_commit_that_comes_to_two_branches_at_once_has_one_run(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    sha = repository.push({"a.tf": "1"}, branch="one", message="Shared")
    repository.push_refs({"refs/heads/two": sha})
    repository.push({"a.tf": "2"}, branch="one", message="Next")
    repository.push_refs({"refs/heads/three": sha})
    deliver(emulator)
    assert runs(following) == [("proposed", "Shared", "queued"), ("proposed", "Next", "queued")]


def test_a_worker_that_lost_its_claim_stores_nothing_of_what_it_decided(
    following: Stack, repository: Repository, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    decide = pushes.decide

    def late(stack: Stack, pushed: Sequence[pushes.Pushed]) -> list[Decision | None]:
        decisions = decide(stack, pushed)
        Delivery.objects.update(lease_token="another's")
        return decisions

    repository.push({"a.tf": "1"}, message="First")
    repository.push({"a.tf": "2"}, message="Second")
    with monkeypatch.context() as patch:
        patch.setattr(pushes, "decide", late)
        deliver(emulator)
    assert runs(following) == []
    assert not Decision.objects.exists()


def test_many_pushes_take_few_statements_and_few_calls(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    Stack.objects.update(path_rule=False)

    def cost(pushed: int) -> tuple[int, int]:
        for number in range(pushed):
            repository.push({"a.tf": f"{number}"}, branch="topic" if number % 2 else "main")
        receive(emulator)
        emulator.reset_requests()
        with CaptureQueriesContext(connection) as queries:
            while process_due():
                pass
        return len(queries), len(emulator.requests)

    _, few, many = cost(6), cost(6), cost(40)
    assert following.runs.count() == 52
    # Some more, since a statement holds a limited number of rows.
    assert many[0] <= few[0] + 5
    assert many[1] <= few[1]


@pytest.mark.parametrize("details", ["all", "minimal"])
def test_several_refs_of_one_push(
    stack: Stack,
    hooks: Callable[..., None],
    repository: Repository,
    emulator: Emulator,
    details: str,
) -> None:
    hooks(details)
    follow_from_now(stack)
    Stack.objects.update(path_rule=False)
    sha = repository.commit({"a.tf": "1"}, [repository.sha("main")], "Both")
    repository.push_refs({"refs/heads/main": sha, "refs/heads/copy": sha, "refs/tags/v1": sha})
    deliver(emulator)
    assert sorted(runs(stack)) == [("proposed", "Both", "queued"), ("tracked", "Both", "queued")]


# A run's states


def test_a_run_goes_only_where_it_may(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push({"a.tf": "1"})
    deliver(emulator)
    [run] = following.runs.all()
    with pytest.raises(IllegalMove):
        run.move_to(State.APPLYING)
    run.move_to(State.PREPARING)
    same = Run.objects.get(pk=run.pk)
    run.move_to(State.PLANNING)
    with pytest.raises(IllegalMove, match="not preparing any more"):
        same.move_to(State.FAILED)
    run.refresh_from_db()
    assert run.state == "planning"


@pytest.mark.parametrize("state", [State.FINISHED, State.CANCELED, State.SUPERSEDED])
def test_an_ended_run_stays_as_it_is(
    following: Stack, repository: Repository, emulator: Emulator, state: State
) -> None:
    repository.push({"a.tf": "1"})
    deliver(emulator)
    following.runs.update(state=state)
    assert following.runs.move_to(State.CANCELED) == 0
    [run] = following.runs.all()
    assert (run.state, run.has_ended) == (state, True)


# What a lost delivery must not change


def test_the_last_commit_of_a_deleted_branch_is_known_without_the_push_that_brought_it(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    last = repository.push({"main.tf": "2"}, message="The last one")
    emulator.deliveries.drop()
    repository.delete_branch("main")
    deliver(emulator)
    following.refresh_from_db()
    assert following.branch_gone_at
    assert (following.head_sha, following.head_title) == (last, "The last one")


def test_a_target_that_changed_unseen_has_its_run_as_well(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    Stack.objects.update(pull_requests_only=True)
    release = make_stack(following.repository, "Release", branch="release", pull_requests_only=True)
    repository.push_refs({"refs/heads/release": "main"})
    follow_from_now(release)
    repository.push({"a.tf": "1"}, branch="topic", message="First")
    one = repository.open_pull_request("topic", "release")
    one.push({"a.tf": "2"}, message="Second")
    one.retarget("main")
    one.push({"a.tf": "3"}, message="Third")
    emulator.deliveries.drop()
    one.vote("Bo Builder", 10)
    deliver(emulator)
    assert [message for _, message, _ in runs(release)] == ["First", "Second"]
    assert [message for _, message, _ in runs(following)] == ["Second", "Third"]


def test_a_target_that_went_and_came_back_is_checked_again(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    Stack.objects.update(pull_requests_only=True)
    repository.push_refs({"refs/heads/release": "main"})
    repository.push({"a.tf": "1"}, branch="topic", message="First")
    one = repository.open_pull_request("topic")
    deliver(emulator)
    following.runs.move_to(State.CANCELED)
    one.retarget("release")
    one.retarget("main")
    deliver(emulator)
    assert runs(following) == [("proposed", "First", "canceled"), ("proposed", "First", "queued")]


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_pull_request_from_before_the_stack_runs_when_it_is_active_again(
    stack: Stack,
    hooks: Callable[..., None],
    repository: Repository,
    emulator: Emulator,
    is_announced: bool,
) -> None:
    one = repository.open_pull_request("feature/network")
    hooks()
    stack.followed_at = timezone.now()
    stack.save()
    follow_from_now(stack)
    one.abandon()
    if not is_announced:
        emulator.deliveries.drop()
    deliver(emulator)
    one.reactivate()
    deliver(emulator)
    assert reconcile_next()
    plan_next()
    assert runs(stack) == [("proposed", "Add a network", "queued")]
    one.push({"a.tf": "2"}, message="Second")
    deliver(emulator)
    assert runs(stack)[1:] == [("proposed", "Second", "queued")]


def test_a_pull_request_from_before_the_stack_is_known_when_it_ends_unseen(
    stack: Stack, repository: Repository
) -> None:
    stack.pull_requests_only = True
    one = repository.open_pull_request("feature/network")
    stack.followed_at = timezone.now()
    stack.save()
    follow_from_now(stack)
    assert reconcile_next()
    one.push({"a.tf": "2"}, message="Second")
    one.abandon()
    stack.integration.repositories.make_due()
    assert reconcile_next()
    assert runs(stack) == [("proposed", "Second", "canceled")]


def test_a_push_of_several_refs_is_read_as_a_whole(
    following: Stack, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    taken: list[int] = []

    def decide_once(*arguments: Any, **options: Any) -> list[Decision]:
        taken.append(1)
        if len(taken) == 2:
            raise Killed
        return decide_events(*arguments, **options)

    repository.push({"a.tf": "1"}, branch="topic", message="A topic")
    sha = repository.push({"main.tf": "2"}, branch="next", message="Second")
    reconcile(following.repository)
    repository.push_refs({"refs/heads/main": sha, "refs/heads/topic": sha, "refs/tags/v1": sha})
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr("stacks.deciding.reconciliation.decide_events", decide_once)
        reconcile(OurRepository.objects.get(stacks=following))
    reconcile(OurRepository.objects.get(stacks=following))
    assert ("tracked", "Second", "queued") in runs(following)


# What belongs to whom


def test_a_stack_that_moved_to_another_repository_restarts_its_count_of_pushes(
    following: Stack, integration: Integration, repository: Repository, emulator: Emulator
) -> None:
    """Both repositories have a push 2 to main."""
    Stack.objects.update(path_rule=False)
    repository.push({"main.tf": "2"}, message="Here")
    deliver(emulator)
    other = make_repository(integration, "other", name="other")
    stack = Stack.objects.with_repository().get()
    pushed = RefChanged(
        "other", stack.runs.get().position or 0, "refs/heads/main", "", "1" * 40, None, ELSEWHERE
    )
    stack.follow(other, "main")
    decide_events(integration, [pushed])
    assert [message for _, message, _ in runs(stack)] == ["Here", "There"]


def test_code_that_a_pull_request_proposes_is_not_superseded_by_its_other_branch(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push({"a.tf": "1"}, branch="one", message="Shared")
    repository.push_refs({"refs/heads/two": repository.sha("one")})
    proposed = repository.open_pull_request("two")
    deliver(emulator)
    repository.push({"a.tf": "2"}, branch="one", message="Second")
    deliver(emulator)
    assert runs(following) == [("proposed", "Shared", "queued"), ("proposed", "Second", "queued")]
    proposed.push({"a.tf": "3"}, message="Third")
    deliver(emulator)
    assert runs(following)[0] == ("proposed", "Shared", "superseded")


@pytest.mark.parametrize("opened_before", [True, False])
def test_a_commit_of_two_pull_requests_is_run_for_the_one_that_stays(
    following: Stack, repository: Repository, emulator: Emulator, opened_before: bool
) -> None:
    Stack.objects.update(pull_requests_only=True)
    repository.push({"a.tf": "1"}, branch="one", message="Shared")
    repository.push_refs({"refs/heads/two": repository.sha("one")})
    first = repository.open_pull_request("one")
    if opened_before:
        repository.open_pull_request("two")
    deliver(emulator)
    first.abandon()
    deliver(emulator)
    if not opened_before:
        repository.open_pull_request("two")
        deliver(emulator)
    [run] = following.runs.that_count()
    assert run.pull_request
    assert (run.state, run.pull_request.number) == ("queued", 2)


@pytest.mark.parametrize("pull_requests_only", [True, False])
@pytest.mark.parametrize("ends_first", ["one", "two"])
def test_a_commit_of_two_pull_requests_is_run_until_both_have_ended(
    following: Stack,
    repository: Repository,
    emulator: Emulator,
    pull_requests_only: bool,
    ends_first: str,
) -> None:
    Stack.objects.update(pull_requests_only=pull_requests_only)
    repository.push({"a.tf": "1"}, branch="one", message="Shared")
    repository.push_refs({"refs/heads/two": repository.sha("one")})
    opened = {name: repository.open_pull_request(name) for name in ("one", "two")}
    deliver(emulator)
    opened.pop(ends_first).abandon()
    deliver(emulator)
    assert runs(following) == [("proposed", "Shared", "queued")]
    opened.popitem()[1].abandon()
    deliver(emulator)
    assert runs(following) == [("proposed", "Shared", "canceled")]


def test_code_of_two_branches_is_superseded_once_both_moved(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push({"a.tf": "1"}, branch="one", message="Shared")
    repository.push_refs({"refs/heads/two": repository.sha("one")})
    deliver(emulator)
    repository.push({"a.tf": "2"}, branch="one", message="Second")
    deliver(emulator)
    assert runs(following) == [("proposed", "Shared", "queued"), ("proposed", "Second", "queued")]
    repository.push({"a.tf": "3"}, branch="two", message="Third")
    deliver(emulator)
    assert [state for _, _, state in runs(following)] == ["superseded", "queued", "queued"]


def test_the_end_of_a_pull_request_leaves_what_another_branch_wants(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push({"a.tf": "1"}, branch="one", message="Shared")
    deliver(emulator)
    repository.push_refs({"refs/heads/two": repository.sha("one")})
    opened = repository.open_pull_request("two")
    deliver(emulator)
    opened.abandon()
    deliver(emulator)
    assert runs(following) == [("proposed", "Shared", "queued")]


def test_a_later_run_of_a_commit_is_wanted_by_what_wanted_the_canceled_one(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    Stack.objects.update(pull_requests_only=True)
    repository.push({"a.tf": "1"}, branch="one", message="Shared")
    repository.open_pull_request("one")
    deliver(emulator)
    following.runs.move_to(State.CANCELED)
    repository.push_refs({"refs/heads/two": repository.sha("one")})
    second = repository.open_pull_request("two")
    deliver(emulator)
    second.abandon()
    deliver(emulator)
    assert runs(following) == [("proposed", "Shared", "canceled"), ("proposed", "Shared", "queued")]


def test_the_end_of_a_pull_request_that_was_retargeted_cancels_its_run(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push_refs({"refs/heads/release": "main"})
    repository.push({"a.tf": "1"}, branch="topic", message="First")
    one = repository.open_pull_request("topic")
    deliver(emulator)
    one.retarget("release")
    one.abandon()
    deliver(emulator)
    assert runs(following) == [("proposed", "First", "canceled")]


def test_a_branch_that_is_forced_back_needs_its_newer_code_no_more(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    first = repository.push({"a.tf": "1"}, branch="topic", message="First")
    deliver(emulator)
    Run.objects.update(state=State.FINISHED)
    repository.push({"a.tf": "2"}, branch="topic", message="Second")
    deliver(emulator)
    repository.push_refs({"refs/heads/topic": first})
    deliver(emulator)
    assert runs(following) == [
        ("proposed", "First", "finished"),
        ("proposed", "Second", "superseded"),
    ]


def test_a_vote_says_so_and_a_conflict_is_noted_at_the_run(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push({"main.tf": "topic"}, branch="topic", message="First")
    one = repository.open_pull_request("topic")
    deliver(emulator)
    one.vote("Bo Builder", 10)
    [vote] = deliver(emulator)
    assert vote.outcome == "no_run"
    assert "only votes, reviewers, title, description or its trial merge" in vote.reason
    repository.push({"main.tf": "main"}, message="Conflicting")
    reasons = [delivery.reason for delivery in deliver(emulator)]
    [decision] = Decision.objects.filter(rule="conflicts")
    assert decision.run == following.runs.get(message="First")
    assert "Run 1 of Network" in reasons


def test_a_pull_request_of_no_stack_costs_no_calls(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push_refs({"refs/heads/release": "main"})
    repository.push({"a.tf": "1"}, branch="topic", message="First")
    deliver(emulator)
    emulator.reset_requests()
    one = repository.open_pull_request("topic", "release")
    one.vote("Bo Builder", 10)
    processed = deliver(emulator)
    assert "targets release, and the stack tracks main" in processed[-1].reason
    assert sum(emulator.request_counts().values()) == 0
    one.retarget("main")
    deliver(emulator)
    assert following.runs.get(message="First").pull_request


# What can't be read


def test_what_could_not_be_read_is_said_and_read_again_automatically(
    stack: Stack,
    hooks: Callable[..., None],
    repository: Repository,
    emulator: Emulator,
) -> None:
    hooks("minimal")
    follow_from_now(stack)
    assert reconcile_next()
    repository.push({"a.tf": "1"}, branch="topic", message="First")
    emulator.faults.add("unavailable")
    deliver(emulator)
    Delivery.objects.update(failures=WAITING_ATTEMPTS)
    due_again()
    process_due()
    delivery = Delivery.objects.get()
    assert "read again instead" in delivery.reason
    emulator.faults.clear()
    assert reconcile_next()
    assert runs(stack) == [("proposed", "First", "queued")]


def test_an_old_event_does_not_replace_what_was_read_when_nothing_can_be_read(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.push({"a.tf": "1"}, branch="topic", message="First")
    one = repository.open_pull_request("topic")
    late = emulator.deliveries.take()
    one.abandon()
    deliver(emulator)
    emulator.faults.add("unavailable")
    deliver(emulator, late)
    Delivery.objects.update(failures=WAITING_ATTEMPTS)
    due_again()
    process_due()
    assert not following.runs.filter(sources__pull_request__number=1, state="queued").exists()


def test_a_replay_keeps_the_run_that_a_delivery_started(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    Stack.objects.update(pull_requests_only=True)
    repository.push({"a.tf": "1"}, branch="topic", message="First")
    deliver(emulator)
    one = repository.open_pull_request("topic")
    [created, *_] = deliver(emulator)
    one.abandon()
    deliver(emulator)
    replay(Delivery.objects.filter(pk=created.pk))
    assert process_due() == 1
    [decision] = created.decisions.all()
    assert (decision.rule, decision.run) == ("proposed", following.runs.get())
    created.refresh_from_db()
    assert (created.outcome, created.reason) == ("run", "Run 1 of Network")


def test_many_revisions_that_nobody_saw_are_read_in_one_go(
    following: Stack, repository: Repository, emulator: Emulator
) -> None:
    Stack.objects.update(pull_requests_only=True)
    repository.push({"a.tf": "0"}, branch="topic")
    one = repository.open_pull_request("topic")
    for number in range(10):
        one.push({"a.tf": str(number)}, f"Change {number}")
    begun: list[str] = []

    def note(execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith("SAVEPOINT"):
            begun.append(sql)
        return execute(sql, *arguments)

    emulator.deliveries.drop()
    event = PullRequestChanged(repository.id, one.id)
    with connection.execute_wrapper(note):
        decide_events(following.integration, [event])
    assert following.runs.count() == 11
    assert len(begun) < 10
