"""From the bytes of a webhook request to what it claims, whatever the bytes are."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.payloads import PAYLOADS
from vcs_integrations.providers.azure_devops.webhook import parse
from vcs_integrations.providers.events import (
    Ignored,
    Malformed,
    PullRequestChanged,
    PushAnnounced,
    RefChanged,
    Unspecified,
)

REPOSITORY = "ba29d1a4-5c1e-4f0e-9a37-7d1b6c2e8f22"
PROJECT = "ab1cfe2d-0e0b-4a9f-8c66-2f8b4a6d9c11"
ZEROS = "0" * 40


def payload(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_bytes())
    return found


def events(name: str, *, top: dict[str, Any] | None = None, **resource: Any) -> Any:
    """Parse a payload with fields of it, or of its resource, changed; None leaves one out."""
    changed = copy.deepcopy(payload(name)) | (top or {})
    for key, value in resource.items():
        if value is None:
            changed["resource"].pop(key, None)
        else:
            changed["resource"][key] = value
    return parse(json.dumps(changed).encode())


def claims(name: str, **changes: Any) -> tuple[RefChanged, ...]:
    """Return what a push is said to have changed."""
    [announced] = events(name, **changes)
    assert isinstance(announced, PushAnnounced)
    return announced.claims


def test_a_push_is_announced_with_ref_commits_and_order() -> None:
    [event] = claims("git_push__one_commit")
    assert (event.repository_id, event.position, event.branch) == (REPOSITORY, 104, "main")
    assert event.old_sha.startswith("fa51ee")
    assert event.new_sha.startswith("298a79")
    assert event.commit is not None
    assert event.commit.sha == event.new_sha
    assert event.pushed_at is not None
    assert event.pushed_at.microsecond  # of seven fractional digits six are kept


def test_a_created_and_a_deleted_ref_have_no_other_side() -> None:
    [created] = claims("git_push__new_branch")
    [deleted] = claims("git_push__branch_deleted")
    assert (created.is_creation, created.is_deletion) == (True, False)
    assert (deleted.is_creation, deleted.is_deletion) == (False, True)
    assert created.branch == deleted.branch == "topic/größe"


def test_a_tag_is_no_branch() -> None:
    [tag] = claims("git_push__tag")
    assert (tag.ref, tag.branch) == ("refs/tags/v1.2.0", "")


def test_a_missing_old_commit_means_that_the_ref_was_created() -> None:
    updates = [{"name": "refs/tags/v9", "newObjectId": "1" * 40}]
    [event] = claims("git_push__one_commit", refUpdates=updates)
    assert event.is_creation


def test_every_ref_of_a_push_is_claimed() -> None:
    found = claims("git_push__several_refs")
    assert [event.ref for event in found] == [
        "refs/heads/main",
        "refs/heads/release/1",
        "refs/tags/v1.3.0",
    ]


@pytest.mark.parametrize("commits", [None, [], [{"commitId": 7}], "many"])
def test_the_tip_is_named_by_the_ref_not_by_the_commits(commits: Any) -> None:
    [event] = claims("git_push__one_commit", commits=commits)
    assert event.new_sha.startswith("298a79")
    assert event.commit is None


def test_minimal_details_announce_the_push() -> None:
    assert events("git_push__minimal") == [PushAnnounced(REPOSITORY, 109)]


@pytest.mark.parametrize(
    "updates", [None, [], "x", [{"name": "refs/heads/main"}], [{"newObjectId": "1" * 40}], [7]]
)
def test_a_push_that_does_not_list_all_refs_is_announced(updates: Any) -> None:
    assert events("git_push__one_commit", refUpdates=updates) == [PushAnnounced(REPOSITORY, 104)]


def test_no_details_say_that_something_happened_in_the_project() -> None:
    assert events("git_push__without_resource") == [Unspecified(PROJECT)]


def test_a_push_without_its_id_has_the_repository_read() -> None:
    assert events("git_push__one_commit", pushId=None) == [Unspecified(PROJECT, REPOSITORY)]


def test_resource_version_2_is_read_like_1_or_as_no_details() -> None:
    assert events("git_push__one_commit", top={"resourceVersion": "2.0"}) == events(
        "git_push__one_commit"
    )
    emptied = {"resource": None, "resourceVersion": None}
    assert events("git_push__one_commit", top=emptied) == [Unspecified(PROJECT)]


@pytest.mark.parametrize(
    ("name", "status", "is_draft", "is_from_fork", "trial_merge"),
    [
        ("git_pullrequest_created__active", "open", False, False, "pending"),
        ("git_pullrequest_created__draft", "open", True, False, "pending"),
        ("git_pullrequest_created__fork", "open", False, True, "pending"),
        ("git_pullrequest_merged__conflicts", "open", False, False, "conflicts"),
        ("git_pullrequest_updated__abandoned", "closed", False, False, "clean"),
        ("git_pullrequest_updated__completed", "merged", False, False, "clean"),
    ],
)
def test_a_pull_request_is_claimed_to_be_something(
    name: str, status: str, is_draft: bool, is_from_fork: bool, trial_merge: str
) -> None:
    [event] = events(name)
    assert isinstance(event, PullRequestChanged)
    assert event.facts is None
    facts = event.claims
    assert facts is not None
    assert event.number == facts.number
    assert (facts.source_branch, facts.target_branch) == ("topic/größe", "main")
    assert (facts.status, facts.is_draft) == (status, is_draft)
    assert (facts.is_from_fork, facts.trial_merge) == (is_from_fork, trial_merge)
    assert facts.source_sha.startswith("53d54a")


def test_a_pull_request_of_minimal_details_is_known_by_its_address() -> None:
    found = payload("git_pullrequest_updated__vote")
    url = found["resource"]["url"]
    found["resource"] = {"pullRequestId": 41, "url": url}
    assert parse(json.dumps(found).encode()) == [PullRequestChanged(REPOSITORY, 41)]


def test_other_events_are_ignored_by_name() -> None:
    found = events("git_repo_renamed__renamed")
    assert isinstance(found, Ignored)
    assert "git.repo.renamed" in found.reason


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b'"x"', b"\xff", b"[" * 100_000, b'{"eventType": "git.push"}'],
)
def test_what_can_not_be_understood_says_why(body: bytes) -> None:
    found = parse(body)
    assert isinstance(found, Malformed)
    assert found.reason


NAMES = [
    "eventType", "resource", "resourceVersion", "refUpdates", "name", "oldObjectId", "newObjectId",
    "pushId", "repository", "project", "id", "url", "commits", "commitId", "pullRequestId",
    "status", "lastMergeSourceCommit", "sourceRefName", "targetRefName", "isDraft", "forkSource",
    "createdBy", "displayName", "creationDate", "date", "author", "resourceContainers",
]  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(
        ["git.push", "git.pullrequest.updated", REPOSITORY, ZEROS, "1" * 40, "active"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=30,
)


@given(st.binary())
def test_no_bytes_raise(body: bytes) -> None:
    parse(body)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_no_json_raises(found: dict[str, Any]) -> None:
    parse(json.dumps(found).encode())


@given(st.sampled_from(sorted(PAYLOADS.glob("*.json"))), st.data())
def test_a_real_request_with_something_else_in_one_place_never_raises(
    path: Path, data: st.DataObject
) -> None:
    found = json.loads(path.read_bytes())
    where = found
    while isinstance(where, dict) and where:
        key = data.draw(st.sampled_from(sorted(where)))
        if not isinstance(where[key], dict) or data.draw(st.booleans()):
            where[key] = data.draw(VALUES)
            break
        where = where[key]
    result = parse(json.dumps(found).encode())
    if isinstance(result, list):
        assert result
