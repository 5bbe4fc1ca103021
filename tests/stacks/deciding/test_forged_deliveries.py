"""Deliveries of somebody who knows the webhook password: whatever they claim changes nothing."""

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from stacks.deciding.reconciliation import reconcile, reconcile_next
from stacks.models import Decision, Report, Stack
from stacks.rules.states import State
from stacks.sources.heads import follow_from_now
from tests.builders import make_stack
from tests.emulator import Emulator
from tests.emulator.model import SYSTEM, Repository
from tests.endpoint import Endpoint
from tests.stacks.deciding.forgeries import NOTHING, made_up, made_up_push
from tests.stacks.reports.sender import look
from vcs_integrations.models import Delivery, Integration
from vcs_integrations.models import Repository as OurRepository
from vcs_integrations.providers.azure_devops import client as azure_devops
from vcs_integrations.webhooks.password import change_webhook_password
from vcs_integrations.webhooks.processing import WAITING_ATTEMPTS, process_due, replay


class Forger:
    """Somebody who knows the webhook password, and what deliveries look like."""

    def __init__(self, integration: Integration, repository: Repository) -> None:
        self.integration = integration
        self.repository = repository

    @property
    def next_number(self) -> int:
        return Delivery.objects.count() + 1000

    def send(self, name: str, number: int = 0, **resource: Any) -> Delivery:
        """Post a made-up delivery about the repository; return it as it was stored."""
        return self.post(made_up(name, self.repository.id, number or self.next_number, **resource))

    def post(self, body: bytes) -> Delivery:
        assert Endpoint(self.integration).post(body).status_code == 200
        return Delivery.objects.latest("pk")

    def push(self, position: int, ref: str, old: str, new: str, number: int = 0) -> Delivery:
        number = number or self.next_number
        return self.post(made_up_push(self.repository.id, number, position, ref, old, new))

    def announce(self, position: int) -> Delivery:
        """Post what a hook would have sent about a real push."""
        push = next(push for push in self.repository.pushes if push.id == position)
        updates = [
            {"name": one.name, "oldObjectId": one.old, "newObjectId": one.new}
            for one in push.ref_updates
        ]
        return self.send("git_push__one_commit", pushId=position, refUpdates=updates, commits=[])


@pytest.fixture
def following(stack: Stack) -> Stack:
    """The stack of `main`, from now on, with a finished run and a pull request."""
    follow_from_now(stack)
    look(stack)
    return stack


@pytest.fixture
def forger(world: Integration, repository: Repository, following: Stack) -> Forger:
    return Forger(world, repository)


def everything(stack: Stack) -> list[Any]:
    """Return all that a delivery may change about a stack."""
    stack.refresh_from_db()
    return [
        list(stack.runs.order_by("pk").values()),
        list(stack.repository.pull_requests.values()),
        list(Report.objects.order_by("pk").values("what", "sha", "revision", "is_ignored")),
        (stack.head_sha, stack.head_position, stack.branch_gone_at, stack.followed_position),
    ]


def process_all() -> None:
    """Process what is due, and then what is checked again, as if a while had passed."""
    process_due()
    Delivery.objects.waiting().update(due_at=timezone.now())
    process_due()


def refuted(delivery: Delivery) -> str:
    """Return why a delivery was refuted."""
    delivery.refresh_from_db()
    assert (delivery.outcome, delivery.is_waiting) == ("refuted", False)
    return delivery.reason


def newest(repository: Repository) -> int:
    """Return the number of the newest push that is not a trial merge."""
    by_people = (one for one in reversed(repository.pushes) if one.pushed_by != SYSTEM)
    return next(by_people).id


Forgery = Callable[[Forger, Repository], Delivery]


def of_the_tracked_branch(forger: Forger, repository: Repository) -> Delivery:
    old, new = repository.sha("main"), repository.sha("feature/network")
    return forger.push(newest(repository) + 1000, "refs/heads/main", old, new)


def with_the_number_of_a_real_push(forger: Forger, repository: Repository) -> Delivery:
    old, new = repository.sha("main"), repository.sha("feature/network")
    return forger.push(newest(repository), "refs/heads/main", old, new)


def that_deletes_the_tracked_branch(forger: Forger, repository: Repository) -> Delivery:
    old = repository.sha("main")
    return forger.push(newest(repository) + 1000, "refs/heads/main", old, NOTHING)


def that_supersedes_proposed_code(forger: Forger, repository: Repository) -> Delivery:
    old, new = repository.sha("topic"), repository.sha("main")
    return forger.push(newest(repository) + 1000, "refs/heads/topic", old, new)


def of_a_tag(forger: Forger, repository: Repository) -> Delivery:
    new = repository.sha("feature/network")
    return forger.push(newest(repository) + 1000, "refs/tags/v1", NOTHING, new)


def of_a_pull_request_that_is_not_there(forger: Forger, repository: Repository) -> Delivery:
    commit = {"commitId": repository.sha("feature/network")}
    return forger.send(
        "git_pullrequest_created__active", pullRequestId=999, lastMergeSourceCommit=commit
    )


def that_completes_a_pull_request(forger: Forger, repository: Repository) -> Delivery:
    return forger.send("git_pullrequest_updated__completed", pullRequestId=1)


FORGERIES: list[Forgery] = [
    of_the_tracked_branch,
    with_the_number_of_a_real_push,
    that_deletes_the_tracked_branch,
    that_supersedes_proposed_code,
    of_a_tag,
    of_a_pull_request_that_is_not_there,
    that_completes_a_pull_request,
]


@pytest.mark.parametrize("forge", FORGERIES)
def test_a_false_claim_changes_nothing_and_is_recorded_and_reported_once(
    forger: Forger, following: Stack, repository: Repository, admin: Client, forge: Forgery
) -> None:
    repository.push({"topic.tf": "1"}, "topic", "Proposed")
    repository.open_pull_request("topic")
    repository.push({"main.tf": "2"}, message="Reviewed")
    look(following)
    before = everything(following)
    assert len(before[0]) == 2
    for _ in range(3):
        delivery = forge(forger, repository)
        process_all()
        reason = refuted(delivery)
    assert everything(following) == before
    assert "Azure DevOps" in reason
    page = admin.get(delivery.get_absolute_url()).content.decode()
    assert "Refuted" in page
    assert "Stackhook started nothing" in page
    [notice] = following.integration.notices.all()
    assert notice.subject in admin.get("/").content.decode()
    assert "change it" in notice.text
    # The real pushes go on as if nothing had been claimed.
    forger.announce(newest(repository))
    repository.push({"main.tf": "3"}, message="Next")
    forger.announce(newest(repository))
    process_all()
    assert following.runs.get(message="Next").state == State.QUEUED
    assert following.runs.get(message="Reviewed").state == State.SUPERSEDED
    following.refresh_from_db()
    assert following.head_sha == repository.sha("main")


@pytest.mark.parametrize(
    "forged",
    [
        {"status": "abandoned"},
        {"sourceRefName": "refs/heads/main", "isDraft": False, "forkSource": None},
        {"lastMergeSourceCommit": {"commitId": "1" * 40}},
        {"targetRefName": "refs/heads/elsewhere"},
    ],
)
def test_what_is_claimed_of_a_pull_request_is_read_instead(
    forger: Forger, following: Stack, repository: Repository, forged: dict[str, Any]
) -> None:
    """All of it may have been so before, so it is no lie; but it counts for nothing."""
    repository.push({"topic.tf": "1"}, "topic", "Proposed")
    repository.open_pull_request("topic", is_draft=True)
    look(following)
    before = everything(following)
    forger.send("git_pullrequest_updated__vote", pullRequestId=1, **forged)
    process_due()
    after = everything(following)
    for row in [*before[1], *after[1]]:
        row.pop("version")  # counts the readings
    assert after == before


def test_an_unseen_pull_request_that_is_said_to_be_for_another_branch_is_not_forgotten(
    forger: Forger, following: Stack, repository: Repository
) -> None:
    repository.push({"topic.tf": "1"}, "topic", "Proposed")
    repository.open_pull_request("topic")
    before = everything(following)
    delivery = forger.send(
        "git_pullrequest_updated__vote", pullRequestId=1, targetRefName="refs/heads/elsewhere"
    )
    process_due()
    assert everything(following) == before
    delivery.refresh_from_db()
    assert delivery.reason.startswith("According to the delivery, pull request 1 targets elsewhere")
    forger.send("git_pullrequest_updated__vote", pullRequestId=1)
    process_due()
    assert following.runs.get().message == "Proposed"


def test_what_a_run_says_of_its_commit_is_read(
    forger: Forger, following: Stack, repository: Repository
) -> None:
    old = repository.sha("main")
    new = repository.push({"main.tf": "2"}, message="What it is")
    forger.push(newest(repository), "refs/heads/main", old, new)
    process_due()
    [run] = following.runs.all()
    assert (run.message, run.author) == ("What it is", "Ann Admin")
    assert (run.written_by, run.pushed_by) == (["ann@fabrikam.example"], "ann@fabrikam.example")


def test_an_old_push_that_is_announced_once_more_starts_nothing(
    forger: Forger, following: Stack, repository: Repository
) -> None:
    Stack.objects.update(project_root="infra")
    repository.push({"elsewhere.tf": "2"}, message="Ignored")
    old = newest(repository)
    announced = forger.announce(old)
    process_due()
    Stack.objects.update(path_rule=False)
    forger.announce(old)
    process_due()
    assert not following.runs.exists()
    assert following.decisions.latest("pk").sentence.startswith("This push was decided on before")
    replay(Delivery.objects.filter(pk=announced.pk))  # which an admin does
    process_due()
    assert following.runs.get().message == "Ignored"


@pytest.mark.parametrize(
    "forged",
    ["refuted", "waiting", "of an unknown event", "of no repository with a stack", "unreadable"],
)
def test_a_forgery_with_the_number_of_a_real_delivery_does_not_take_its_place(
    forger: Forger, following: Stack, repository: Repository, forged: str
) -> None:
    false = json.loads(
        made_up_push(repository.id, 7, newest(repository) + 1, "refs/heads/main", NOTHING, "1" * 40)
    )
    if forged == "of an unknown event":
        false["eventType"] = "git.surprise"
    elif forged == "of no repository with a stack":
        false["resource"]["repository"]["id"] = str(uuid.uuid4())
    elif forged == "unreadable":
        false["resource"] = None
    forger.post(json.dumps(false).encode())
    if forged != "waiting":
        process_all()
        assert not Delivery.objects.waiting().exists()
    old = repository.sha("main")
    new = repository.push({"main.tf": "2"}, message="Real")
    forger.push(newest(repository), "refs/heads/main", old, new, number=7)
    process_all()
    assert following.runs.get().message == "Real"


def test_a_push_that_can_be_read_a_moment_later_accuses_nobody(
    forger: Forger, following: Stack, repository: Repository
) -> None:
    old = repository.sha("main")
    new = repository.commit({"main.tf": "2"}, [old], "Slow")
    delivery = forger.push(newest(repository) + 1, "refs/heads/main", old, new)
    process_due()
    delivery.refresh_from_db()
    assert delivery.is_waiting
    assert delivery.reason.startswith("Waiting: Azure DevOps has no push")
    repository.push_refs({"refs/heads/main": new})
    process_all()
    assert following.runs.get().message == "Slow"
    assert not following.integration.notices.exists()


def test_after_a_false_claim_the_truth_is_read_within_a_minute_and_not_more_often(
    forger: Forger, following: Stack, repository: Repository
) -> None:
    def due() -> Any:
        return OurRepository.objects.get(pk=following.repository_id).due_at

    for _ in range(3):
        of_the_tracked_branch(forger, repository)
        process_all()
        assert timezone.now() < due() <= timezone.now() + timedelta(minutes=1)
    assert not reconcile_next()


def test_a_new_password_ends_the_notice(
    forger: Forger, following: Stack, repository: Repository
) -> None:
    of_the_tracked_branch(forger, repository)
    process_all()
    unfixed = following.integration.notices.unfixed()
    assert unfixed.count() == 1
    integration = Integration.objects.get()
    assert change_webhook_password(integration, integration.password_mark)
    assert unfixed.count() == 0


def test_a_repository_that_can_not_be_read_makes_no_delivery_a_lie(
    forger: Forger, following: Stack, repository: Repository
) -> None:
    repository.push({"main.tf": "2"})
    repository.disable()
    delivery = forger.announce(newest(repository))
    process_due()
    delivery.refresh_from_db()
    assert (delivery.outcome, following.integration.notices.count()) == ("no_run", 0)
    assert "read again instead" in delivery.reason


# While nothing can be read


@pytest.mark.parametrize("fault", ["unavailable", "throttled", "token-expired"])
def test_a_delivery_waits_as_long_as_its_push_can_not_be_read(
    forger: Forger, following: Stack, repository: Repository, emulator: Emulator, fault: str
) -> None:
    before = everything(following)
    emulator.faults.add(fault)
    repository.push({"main.tf": "2"}, message="Real")
    real = forger.announce(newest(repository))
    false = that_deletes_the_tracked_branch(forger, repository)
    process_due()
    for delivery in (real, false):
        delivery.refresh_from_db()
        assert delivery.is_waiting
        assert delivery.reason.startswith("Waiting: ")
    assert everything(following) == before
    emulator.faults.clear()
    resume()
    process_due()
    assert following.runs.get().message == "Real"
    assert refuted(false)
    following.refresh_from_db()
    assert not following.branch_gone_at


def test_after_an_hour_of_silence_nothing_is_believed_and_nothing_lost(
    forger: Forger, following: Stack, repository: Repository, emulator: Emulator
) -> None:
    before = everything(following)
    repository.push({"main.tf": "2"}, message="Real")
    forger.announce(newest(repository))
    of_the_tracked_branch(forger, repository)
    of_a_pull_request_that_is_not_there(forger, repository)
    emulator.faults.add("unavailable")
    Delivery.objects.update(failures=WAITING_ATTEMPTS)
    process_due()
    assert not Delivery.objects.waiting().exists()
    assert everything(following) == before
    emulator.faults.clear()
    reconcile(OurRepository.objects.get(pk=following.repository_id))
    assert following.runs.get().message == "Real"


def resume() -> None:
    """Let the time come at which what waits is tried again."""
    azure_devops.resume_times.clear()
    Delivery.objects.waiting().update(due_at=timezone.now())


# What it costs


@pytest.fixture
def calls(emulator: Emulator) -> Iterator[Callable[[], list[str]]]:
    """Return the last parts of the paths that were called since the last time."""

    def take() -> list[str]:
        paths = [request.path.partition("/repositories/")[2] for request in emulator.requests]
        emulator.reset_requests()
        return [path.partition("/")[2].partition("/")[0] for path in paths]

    emulator.reset_requests()
    yield take


def test_a_push_costs_one_call_for_all_stacks_and_all_deliveries_of_it(
    forger: Forger,
    following: Stack,
    repository: Repository,
    calls: Callable[[], list[str]],
) -> None:
    Stack.objects.update(path_rule=False)
    for number in range(4):
        make_stack(
            following.repository,
            f"Another {number}",
            path_rule=False,
            followed_position=following.followed_position,
        )
    repository.push({"main.tf": "2"})
    calls()
    forger.announce(newest(repository))
    process_due()
    forger.announce(newest(repository))
    process_due()
    assert calls() == ["pushes"]
    assert Decision.objects.filter(rule="tracked").count() == 5


def test_many_deliveries_at_once_share_a_list_of_pushes_and_one_of_commits(
    forger: Forger,
    following: Stack,
    repository: Repository,
    calls: Callable[[], list[str]],
) -> None:
    Stack.objects.update(path_rule=False)
    for number in range(12):
        repository.push({"main.tf": str(number)}, message=f"Change {number}")
        forger.announce(newest(repository))
    forged = of_the_tracked_branch(forger, repository)
    calls()
    process_due()
    assert calls()[:3] == ["pushes", "commitsbatch", "pushes"]
    Delivery.objects.waiting().update(due_at=timezone.now())
    process_due()
    assert calls() == ["pushes", ""]  # what was missing, and whether its repository is there
    assert [run.message for run in following.runs.order_by("number")] == [
        f"Change {number}" for number in range(12)
    ]
    assert refuted(forged)


def test_where_they_can_not_be_listed_each_is_read(
    forger: Forger, following: Stack, repository: Repository, emulator: Emulator
) -> None:
    Stack.objects.update(path_rule=False)
    for number in range(4):
        repository.push({"main.tf": str(number)}, message=f"Change {number}")
        forger.announce(newest(repository))
    emulator.faults.add("unavailable", path="/(pushes|commitsbatch)$")
    process_due()
    assert following.runs.count() == 4
