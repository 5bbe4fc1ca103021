"""From event to run: every row of the product's table, on requests as Azure DevOps sends them.

The API answers here with the push or pull request of each request, as it was when that was
received, and that it finds nothing else.
"""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import responses

from stacks.models import PullRequest, Stack
from stacks.rules.states import State
from tests.builders import make_repository, make_stack
from tests.endpoint import Endpoint
from tests.payloads import PAYLOADS
from vcs_integrations.models import Delivery, Integration, Repository
from vcs_integrations.webhooks.processing import process_due, replay

REPOSITORY = "ba29d1a4-5c1e-4f0e-9a37-7d1b6c2e8f22"
MAIN_SHA = "298a79"
TOPIC_SHA = "53d54a"
NOT_FOUND = {"message": "TF401019: The Git repository does not exist.", "typeKey": "GitNotFound"}


class Inbox:
    """A linked organization with one stack, and requests that Azure DevOps posts to it."""

    def __init__(self) -> None:
        self.endpoint = Endpoint()
        repository = make_repository(self.endpoint.integration, REPOSITORY)
        self.stack = make_stack(repository, path_rule=False)
        # As if it had followed the branch long before anything of this was pushed.
        self.set(followed_position=1, followed_at="2026-01-01T00:00:00Z")
        self.notification = 0
        # What the API answers, by the end of the path in lower case
        self.there: dict[str, object] = {"": {"id": REPOSITORY}}

    def set(self, **settings: object) -> None:
        Stack.objects.filter(pk=self.stack.pk).update(**settings)
        self.stack.refresh_from_db()

    def receive(self, name: str, **resource: object) -> Delivery:
        """Let a payload's resource happen, changed where that is said; post and process it."""
        payload = copy.deepcopy(json.loads((PAYLOADS / f"{name}.json").read_bytes()))
        self.notification += 1
        payload["notificationId"] = self.notification
        payload["resource"] |= resource
        is_push = payload["eventType"] == "git.push"
        key = ("pushes", "pushId") if is_push else ("pullrequests", "pullRequestId")
        self.there[f"/{key[0]}/{payload['resource'][key[1]]}"] = payload["resource"]
        self.post(json.dumps(payload).encode())
        process_due()
        self.stack.refresh_from_db()
        return Delivery.objects.latest("pk")

    def post(self, body: bytes) -> None:
        assert self.endpoint.post(body).status_code == 200

    def answer(self, request: Any) -> tuple[int, dict[str, str], str]:
        """Answer a call to the API."""
        path = urlsplit(request.url).path.lower().partition(REPOSITORY)[2]
        found = self.there.get(path)
        body = json.dumps(NOT_FOUND if found is None else found)
        return 404 if found is None else 200, {"Content-Type": "application/json"}, body

    @property
    def runs(self) -> list[tuple[str, str, str]]:
        """Kind, beginning of the commit, and state of every run, the oldest first."""
        return [(run.kind, run.sha[:6], run.state) for run in self.stack.runs.order_by("number")]

    @property
    def rule(self) -> str:
        """The rule of the last decision."""
        return self.stack.decisions.order_by("-pk")[0].rule


@pytest.fixture
def inbox(db: None) -> Iterator[Inbox]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as calls:
        inbox = Inbox()
        calls.add_callback(responses.GET, re.compile("https://dev.azure.com/.*"), inbox.answer)
        yield inbox


def test_a_push_of_the_tracked_branch_moves_the_head_and_starts_a_tracked_run(
    inbox: Inbox,
) -> None:
    inbox.receive("git_push__one_commit")
    assert inbox.runs == [("tracked", MAIN_SHA, "queued")]
    assert inbox.stack.head_sha.startswith(MAIN_SHA)
    assert inbox.stack.head_position == 104
    assert inbox.stack.head_message


def test_a_push_of_any_other_branch_starts_a_proposed_run(inbox: Inbox) -> None:
    inbox.receive("git_push__new_branch")
    assert inbox.runs == [("proposed", TOPIC_SHA, "queued")]
    assert inbox.stack.head_sha == ""


@pytest.mark.on_postgresql
def test_a_deleted_tracked_branch_starts_nothing_and_is_said_to_be_gone(inbox: Inbox) -> None:
    inbox.set(branch="topic/größe")
    inbox.receive("git_push__new_branch")
    inbox.receive("git_push__branch_deleted")
    assert inbox.runs == [("tracked", TOPIC_SHA, "queued")]
    assert inbox.rule == "branch_gone"
    assert inbox.stack.branch_gone_at


def test_another_deleted_branch_starts_nothing(inbox: Inbox) -> None:
    inbox.receive("git_push__branch_deleted")
    assert (inbox.runs, inbox.rule) == ([], "branch_deleted")
    assert not inbox.stack.branch_gone_at


def test_a_tag_starts_nothing(inbox: Inbox) -> None:
    inbox.receive("git_push__tag")
    assert (inbox.runs, inbox.rule) == ([], "no_branch")


def moved(*names: str) -> list[dict[str, str]]:
    """Return updates of refs, each from one commit to another."""
    return [{"name": name, "oldObjectId": "a" * 40, "newObjectId": "b" * 40} for name in names]


INTERNAL = (
    "refs/pull/41/merge",
    "refs/pull/41/source",
    "refs/notes/commits",
    "refs/azure-repos/merges/41",
    "refs/headstrong",
)


def test_a_push_of_other_refs_is_skipped_with_a_reason(inbox: Inbox) -> None:
    delivery = inbox.receive("git_push__one_commit", refUpdates=moved(*INTERNAL))
    assert (delivery.outcome, delivery.reason) == (
        "no_run",
        "It changed neither a branch nor a tag",
    )
    assert not inbox.stack.decisions.exists()


def test_of_a_push_with_other_refs_too_branches_and_tags_are_kept(inbox: Inbox) -> None:
    updates = moved(*INTERNAL, "refs/heads/main", "refs/tags/v1")
    delivery = inbox.receive("git_push__one_commit", refUpdates=updates)
    assert delivery.outcome == "run"
    rules = sorted(delivery.decisions.values_list("rule", flat=True))
    assert rules == ["no_branch", "tracked"]


def test_every_ref_of_a_push_counts(inbox: Inbox) -> None:
    delivery = inbox.receive("git_push__several_refs")
    assert inbox.runs == [("tracked", "a511f5", "queued"), ("proposed", "a511f5", "queued")]
    rules = sorted(delivery.decisions.values_list("rule", flat=True))
    assert rules == ["no_branch", "proposed", "tracked"]
    assert delivery.outcome == "run"


@pytest.mark.parametrize(
    ("change", "rule", "note"),
    [
        ({"item": {"path": None}, "originalPath": "/network/old.tf"}, "proposed", ""),
        ({"item": {"path": None}, "originalPath": "/docs/a.md"}, "outside_project_root", ""),
        ({"item": {"path": None}}, "proposed", "a change was listed without its path."),
    ],
)
@pytest.mark.django_db
def test_a_pull_request_that_deletes_runs_unless_the_path_is_known_to_be_elsewhere(
    change: dict[str, Any], rule: str, note: str
) -> None:
    created = json.loads((PAYLOADS / "git_pullrequest_created__active.json").read_bytes())
    revision = {"id": 1, "sourceRefCommit": {"commitId": TOPIC_SHA.ljust(40, "0")}}
    changes = {"changeEntries": [{"changeType": "delete", **change}], "nextSkip": 0}
    url = f"https://dev.azure.com/fabrikam/_apis/git/repositories/{REPOSITORY}"
    with responses.RequestsMock(assert_all_requests_are_fired=False) as calls:
        calls.get(re.compile(f"{url}/commits/"), json=NOT_FOUND, status=404)
        calls.get(f"{url}/pullrequests/41", json=created["resource"])
        calls.get(f"{url}/pullRequests/41/iterations", json={"value": [revision]})
        calls.get(f"{url}/pullRequests/41/iterations/1/changes", json=changes)
        inbox = Inbox()
        inbox.set(path_rule=True, project_root="network")
        inbox.receive("git_pullrequest_created__active")
    assert inbox.rule == rule
    assert [run.note.rpartition(": ")[2] for run in inbox.stack.runs.all()] == (
        [note] if rule == "proposed" else []
    )


def test_a_created_pull_request_starts_a_proposed_run_tied_to_it(inbox: Inbox) -> None:
    inbox.receive("git_pullrequest_created__active")
    assert inbox.runs == [("proposed", TOPIC_SHA, "queued")]
    [run] = inbox.stack.runs.all()
    assert run.pull_request
    assert (run.pull_request.number, run.proposals[0].revision) == (41, 1)
    assert run.branch == "topic/größe"


def test_a_new_source_commit_starts_a_run_and_supersedes_the_older(inbox: Inbox) -> None:
    inbox.receive("git_push__new_branch")
    inbox.receive("git_pullrequest_created__active")
    inbox.receive(
        "git_push__new_branch",
        pushId=110,
        refUpdates=[
            {
                "name": "refs/heads/topic/größe",
                "oldObjectId": TOPIC_SHA.ljust(40, "0"),
                "newObjectId": "298a79".ljust(40, "1"),
            }
        ],
    )
    inbox.receive("git_pullrequest_updated__source_commit")
    assert inbox.runs[0] == ("proposed", TOPIC_SHA, "superseded")
    assert inbox.runs[1] == ("proposed", MAIN_SHA, "queued")


@pytest.mark.parametrize(
    "resource",
    [
        {"reviewers": [{"id": "x", "displayName": "Bob", "vote": 10}]},
        {"title": "Better words"},
        {"description": None},
    ],
)
def test_votes_reviewers_title_and_description_start_nothing(
    inbox: Inbox, resource: dict[str, Any]
) -> None:
    inbox.receive("git_pullrequest_created__active")
    inbox.stack.runs.move_to(State.CANCELED)
    delivery = inbox.receive("git_pullrequest_updated__vote", **resource)
    assert len(inbox.runs) == 1
    assert inbox.rule == "same_source"
    assert delivery.outcome == "no_run"


@pytest.mark.parametrize(("end", "rule"), [("completed", "merged"), ("abandoned", "closed")])
def test_a_pull_request_that_ends_cancels_its_unfinished_runs(
    inbox: Inbox, end: str, rule: str
) -> None:
    inbox.receive("git_pullrequest_created__active")
    inbox.receive(f"git_pullrequest_updated__{end}")
    assert inbox.runs == [("proposed", TOPIC_SHA, "canceled")]
    assert inbox.rule == rule


def test_its_finished_runs_stay_finished(inbox: Inbox) -> None:
    inbox.receive("git_pullrequest_created__active")
    inbox.stack.runs.update(state=State.FINISHED)
    inbox.receive("git_pullrequest_updated__abandoned")
    assert inbox.runs == [("proposed", TOPIC_SHA, "finished")]


@pytest.mark.parametrize(
    ("state", "runs"),
    [
        (State.FINISHED, [("proposed", TOPIC_SHA, "finished")]),
        (State.QUEUED, [("proposed", TOPIC_SHA, "canceled"), ("proposed", TOPIC_SHA, "queued")]),
    ],
)
def test_a_reactivated_pull_request_runs_if_its_commit_has_no_run_that_counts(
    inbox: Inbox, state: State, runs: list[tuple[str, str, str]]
) -> None:
    inbox.receive("git_pullrequest_created__active")
    inbox.stack.runs.update(state=state)
    inbox.receive("git_pullrequest_updated__abandoned")
    inbox.receive("git_pullrequest_updated__vote", status="active")
    assert inbox.runs == runs


def test_conflicts_are_noted_on_the_pull_request_of_the_run(inbox: Inbox) -> None:
    inbox.receive("git_pullrequest_created__active")
    inbox.stack.runs.update(state=State.CANCELED)
    inbox.receive("git_pullrequest_merged__conflicts")
    assert inbox.rule == "conflicts"
    [run] = inbox.stack.runs.all()
    assert run.pull_request
    assert run.pull_request.has_conflicts


@pytest.mark.parametrize(("allowed", "count", "rule"), [(False, 0, "fork"), (True, 1, "proposed")])
def test_a_fork_starts_nothing_unless_the_stack_allows_it(
    inbox: Inbox, allowed: bool, count: int, rule: str
) -> None:
    inbox.set(runs_forks=allowed)
    inbox.receive("git_pullrequest_created__fork")
    assert (len(inbox.runs), inbox.rule) == (count, rule)


@pytest.mark.parametrize(("wanted", "count", "rule"), [(False, 0, "draft"), (True, 1, "proposed")])
def test_a_draft_starts_a_run_where_the_stack_wants_that(
    inbox: Inbox, wanted: bool, count: int, rule: str
) -> None:
    inbox.set(runs_drafts=wanted)
    inbox.receive("git_pullrequest_created__draft")
    assert (len(inbox.runs), inbox.rule) == (count, rule)


def test_a_draft_that_is_ready_starts_the_run_that_the_draft_did_not(inbox: Inbox) -> None:
    inbox.set(runs_drafts=False)
    inbox.receive("git_pullrequest_created__draft")
    inbox.receive("git_pullrequest_created__draft", isDraft=False)
    assert inbox.runs == [("proposed", TOPIC_SHA, "queued")]


def test_a_pull_request_to_another_branch_starts_nothing(inbox: Inbox) -> None:
    inbox.receive("git_pullrequest_created__active", targetRefName="refs/heads/dev")
    assert (inbox.runs, inbox.rule) == ([], "other_target")
    inbox.receive("git_pullrequest_created__active")  # now it targets the tracked branch
    assert inbox.runs == [("proposed", TOPIC_SHA, "queued")]


@pytest.mark.parametrize(
    "order",
    [
        ["git_push__new_branch", "git_pullrequest_created__active"],
        ["git_pullrequest_created__active", "git_push__new_branch"],
    ],
)
def test_push_and_pull_request_of_one_commit_are_one_run(inbox: Inbox, order: list[str]) -> None:
    for name in order:
        inbox.receive(name)
    assert inbox.runs == [("proposed", TOPIC_SHA, "queued")]
    [run] = inbox.stack.runs.all()
    assert run.pull_request
    assert (run.push, run.pull_request.number) == (105, 41)
    assert inbox.rule == "same_commit"


@pytest.mark.on_postgresql
def test_a_push_that_comes_twice_is_one_run(inbox: Inbox) -> None:
    inbox.receive("git_push__one_commit")
    delivery = inbox.receive("git_push__one_commit")  # by a second, overlapping subscription
    assert inbox.runs == [("tracked", MAIN_SHA, "queued")]
    assert inbox.rule == "same_push"
    assert delivery.outcome == "run"


def test_a_push_that_comes_late_is_superseded_and_leaves_the_head(inbox: Inbox) -> None:
    inbox.receive("git_push__several_refs")
    inbox.receive("git_push__one_commit")
    assert inbox.runs[2] == ("tracked", MAIN_SHA, "superseded")
    assert inbox.stack.head_sha.startswith("a511f5")
    assert inbox.stack.head_position == 108


def test_a_newer_push_supersedes_the_tracked_run_that_nobody_confirmed(inbox: Inbox) -> None:
    inbox.receive("git_push__one_commit")
    inbox.stack.runs.update(state=State.UNCONFIRMED)
    inbox.receive("git_push__several_refs")
    assert inbox.runs[0] == ("tracked", MAIN_SHA, "superseded")


def test_a_confirmed_run_is_not_superseded(inbox: Inbox) -> None:
    inbox.receive("git_push__one_commit")
    inbox.stack.runs.update(state=State.CONFIRMED)
    inbox.receive("git_push__several_refs")
    assert inbox.runs[0] == ("tracked", MAIN_SHA, "confirmed")


def test_a_branch_that_is_forced_back_gets_a_new_tracked_run(inbox: Inbox) -> None:
    inbox.receive("git_push__one_commit")
    inbox.receive("git_push__several_refs")
    back = {"oldObjectId": "a511f5".ljust(40, "0"), "newObjectId": MAIN_SHA.ljust(40, "0")}
    updates = [{"name": "refs/heads/main"} | back]
    inbox.receive("git_push__one_commit", pushId=200, refUpdates=updates)
    assert inbox.runs[-1] == ("tracked", MAIN_SHA, "queued")


def test_pull_requests_only_leaves_pushes_of_other_branches_out(inbox: Inbox) -> None:
    inbox.set(pull_requests_only=True)
    inbox.receive("git_push__new_branch")
    assert (inbox.runs, inbox.rule) == ([], "pull_requests_only")
    inbox.receive("git_pullrequest_created__active")
    assert inbox.runs == [("proposed", TOPIC_SHA, "queued")]


def test_what_was_pushed_before_the_stack_starts_nothing(inbox: Inbox) -> None:
    inbox.set(followed_position=104)
    inbox.receive("git_push__one_commit")
    assert (inbox.runs, inbox.rule) == ([], "before_stack")


def test_where_the_changed_files_can_not_be_had_it_runs_and_says_so(inbox: Inbox) -> None:
    inbox.set(path_rule=True, project_root="infra")
    inbox.receive("git_push__one_commit")
    [run] = inbox.stack.runs.all()
    assert "not known" in run.note


@pytest.mark.on_postgresql
def test_a_request_without_details_has_the_repositories_read(inbox: Inbox) -> None:
    repository = inbox.stack.repository
    Repository.objects.filter(pk=repository.pk).update(
        due_at="2100-01-01T00:00:00Z", project_id="ab1cfe2d-0e0b-4a9f-8c66-2f8b4a6d9c11"
    )
    body = (PAYLOADS / "git_push__without_resource.json").read_bytes()
    inbox.post(body)
    process_due()
    assert Repository.objects.due().get() == repository


@pytest.mark.on_postgresql
def test_a_repository_that_no_stack_uses_is_said_to_be_that(inbox: Inbox) -> None:
    inbox.stack.delete()
    body = (PAYLOADS / "git_push__one_commit.json").read_bytes()
    inbox.post(body)
    process_due()
    delivery = Delivery.objects.get()
    assert (delivery.outcome, delivery.reason) == ("no_run", "No stack uses this repository")


@pytest.mark.on_postgresql
@pytest.mark.parametrize(
    "name",
    ["git_push__one_commit", "git_push__new_branch", "git_pullrequest_created__active"],
)
def test_a_replay_never_doubles_a_run(inbox: Inbox, name: str) -> None:
    inbox.receive(name)
    before = inbox.runs
    assert replay(Delivery.objects.all()) == 1
    process_due()
    assert inbox.runs == before
    assert inbox.stack.decisions.count() == 1
    assert Delivery.objects.get().outcome == "run"


@pytest.mark.on_postgresql
def test_a_replay_decides_again_what_was_ignored(inbox: Inbox) -> None:
    inbox.set(pull_requests_only=True)
    inbox.receive("git_push__new_branch")
    inbox.set(pull_requests_only=False)
    replay(Delivery.objects.all())
    process_due()
    assert inbox.runs == [("proposed", TOPIC_SHA, "queued")]


@pytest.mark.on_postgresql
def test_a_replay_of_what_was_superseded_stays_superseded(inbox: Inbox) -> None:
    inbox.receive("git_push__one_commit")
    inbox.receive("git_push__several_refs")
    before = inbox.runs
    replay(Delivery.objects.all())
    process_due()
    assert inbox.runs == before


@pytest.mark.on_postgresql
def test_two_stacks_decide_each_for_itself(inbox: Inbox) -> None:
    other = make_stack(
        inbox.stack.repository, "Release", branch="release/1", path_rule=False, followed_position=1
    )
    delivery = inbox.receive("git_push__several_refs")
    kinds = {(run.stack.name, run.kind) for run in [*inbox.stack.runs.all(), *other.runs.all()]}
    assert kinds == {
        ("Network", "tracked"),
        ("Network", "proposed"),
        ("Release", "tracked"),
        ("Release", "proposed"),
    }
    assert delivery.reason == "4 runs"


def test_an_unlinked_organization_starts_nothing_any_more(inbox: Inbox) -> None:
    inbox.post((PAYLOADS / "git_push__one_commit.json").read_bytes())
    Integration.objects.update(unlinked_at="2026-11-01T00:00:00Z")
    process_due()
    assert Delivery.objects.get().outcome == "no_run"
    assert inbox.runs == []


@pytest.mark.on_postgresql
def test_pull_requests_are_kept_as_they_were_last_read(inbox: Inbox) -> None:
    inbox.receive("git_pullrequest_created__active")
    inbox.receive("git_pullrequest_updated__completed")
    row = PullRequest.objects.get()
    assert (row.number, row.status, row.version) == (41, "merged", 2)
    assert row.title == "Größere Knoten"
