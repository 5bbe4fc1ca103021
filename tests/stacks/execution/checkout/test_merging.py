"""Pull requests are planned as they would be merged, or say what their plan lacks."""

from collections.abc import Callable

import pytest
from django.test import Client

from stacks.execution.checkout import merging
from stacks.execution.output.logs import as_text
from stacks.lifecycle.planning_again import plan_again_next
from stacks.models import Run, Stack
from stacks.rules.states import State
from stacks.sources.heads import follow_from_now
from tests.emulator import Emulator
from tests.emulator.model import Repository
from tests.emulator.pull_requests import PullRequest
from tests.stacks.execution.conftest import log_of, work
from tests.stacks.reports.sender import (
    look,
    make_plan_again_due,
    make_reports_due,
    send_all,
    summaries,
)
from vcs_integrations.providers.azure_devops.provider import AzureDevOps

RESOURCE = 'resource "terraform_data" "%s" {}\n'
BEHIND = "1 commit behind main: changes may be undone by this plan."


@pytest.fixture
def followed(kept: Stack, repository: Repository) -> Stack:
    """A stack whose main holds one resource, which is applied."""
    repository.push({"main.tf": RESOURCE % "network"})
    Stack.objects.update(autodeploy=True)
    kept.refresh_from_db()
    assert follow_from_now(kept) is None
    return kept


def behind(stack: Stack, repository: Repository) -> PullRequest:
    """Open a pull request that adds a file, then apply another one on main."""
    repository.push({"mine.tf": RESOURCE % "mine"}, branch="feature")
    one = repository.open_pull_request("feature")
    repository.push({"theirs.tf": RESOURCE % "theirs"})
    apply_main(stack)
    assert stack.runs.filter(kind="tracked", state=State.FINISHED).count() == 1
    return one


def apply_main(stack: Stack) -> None:
    """Apply what was pushed to main, with the pull request's run out of the way."""
    look(stack)
    Run.objects.filter(kind="proposed").update(state=State.CANCELED)
    work()


def planned(stack: Stack) -> Run:
    """Plan the pull request, and return the run at its end."""
    run = stack.runs.filter(kind="proposed").latest("pk")
    Run.objects.filter(pk=run.pk).update(state=State.QUEUED)
    (done,) = work()
    assert done.state == State.FINISHED, as_text(log_of(done))
    return done


def test_the_merge_is_planned_so_nothing_of_main_is_destroyed(
    followed: Stack, repository: Repository, member: Client
) -> None:
    one = behind(followed, repository)
    run = planned(followed)
    assert (run.added, run.changed, run.destroyed) == (1, 0, 0)
    assert (run.planned_sha, run.behind) == (one.merge_commit, 0)
    assert run.merged_with == repository.git.ref_values()["refs/heads/main"]
    send_all()
    assert summaries(one.latest_statuses(iteration=1))[-1][0] == "succeeded"
    page = member.get(run.get_absolute_url()).content.decode()
    assert f'The merge <code class="commit">{run.planned_sha[:8]}' in page


@pytest.mark.parametrize("reason", ["no refs", "other commit", "switched off", "not readable"])
def test_without_a_merge_the_commit_is_planned_and_says_what_it_lacks(
    reason: str,
    followed: Stack,
    repository: Repository,
    member: Client,
    emulator: Emulator,
) -> None:
    repository.has_merge_refs = reason != "no refs"
    one = behind(followed, repository)
    if reason == "other commit":
        main = repository.git.ref_values()["refs/heads/main"]
        repository.git.update_refs({f"refs/pull/{one.id}/merge": main})
    elif reason == "switched off":
        Stack.objects.update(plans_merged=False)
    elif reason == "not readable":
        emulator.faults.add("permission-denied", f"pullrequests/{one.id}")
    run = planned(followed)
    # What main has more is destroyed by this plan.
    assert (run.added, run.destroyed, run.planned_sha, run.behind) == (1, 1, "", 1)
    emulator.faults.clear()
    page = member.get(run.get_absolute_url()).content.decode()
    assert f"<strong>Warning.</strong> {BEHIND}" in page
    make_reports_due()
    send_all()
    [(_, description)] = summaries(one.latest_statuses(iteration=1))
    assert description.endswith(BEHIND)
    assert BEHIND in one.threads[0].comments[0].content


def test_how_far_it_is_behind_may_not_be_known(
    followed: Stack, repository: Repository, emulator: Emulator
) -> None:
    repository.has_merge_refs = False
    behind(followed, repository)
    emulator.faults.add("permission-denied", "diffs/commits")
    run = planned(followed)
    assert run.behind is None
    assert run.behind_warning == ("This may be behind main: changes may be undone by this plan.")


def test_a_merge_that_is_not_tried_yet_is_waited_for(
    followed: Stack, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "ASK_EVERY", 0)
    behind(followed, repository)
    repository.merges_lazily = True
    repository.push({"theirs.tf": RESOURCE % "theirs" + "# Newer"})
    run = planned(followed)
    assert (run.destroyed, run.behind, bool(run.planned_sha)) == (0, 0, True)
    assert "Waiting for the merge" in as_text(log_of(run))


def conflicting(stack: Stack, repository: Repository) -> PullRequest:
    network = RESOURCE % "network"
    repository.push({"main.tf": network + RESOURCE % "mine"}, branch="feature")
    one = repository.open_pull_request("feature")
    repository.push({"main.tf": network + RESOURCE % "theirs"})
    apply_main(stack)
    return one


def test_conflicts_are_no_success_until_they_are_resolved(
    followed: Stack, repository: Repository, member: Client
) -> None:
    one = conflicting(followed, repository)
    run = planned(followed)
    look(followed)
    make_reports_due()
    send_all()
    [(state, description)] = summaries(one.latest_statuses(iteration=1))
    assert state == "failed"
    assert description.startswith(
        "It conflicts with main: resolve the conflicts to have the merge planned."
    )
    assert "It conflicts with main" in one.threads[0].comments[0].content
    assert "It conflicts with main" in member.get(run.get_absolute_url()).content.decode()
    # Resolved by a move of main alone
    repository.push({"main.tf": RESOURCE % "network"})
    look(followed)
    work()
    make_plan_again_due()
    assert plan_again_next()
    (again,) = work()
    assert again.merged_with
    make_reports_due()
    send_all()
    assert summaries(one.latest_statuses(iteration=1))[-1][0] == "succeeded"


@pytest.mark.parametrize("make", [behind, conflicting])
def test_a_host_without_merge_refs_has_it_merged_here(
    make: Callable[[Stack, Repository], PullRequest],
    followed: Stack,
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AzureDevOps, "merge_ref", lambda self, number: "")
    one = make(followed, repository)
    run = planned(followed)
    main = repository.git.ref_values()["refs/heads/main"]
    if make is behind:
        assert (run.added, run.destroyed, run.merged_with, run.behind) == (1, 0, main, 0)
        return
    assert (run.conflicts, run.planned_sha, run.behind) == (True, "", 1)
    make_reports_due()
    send_all()
    assert summaries(one.latest_statuses(iteration=1))[-1][0] == "failed"


def test_a_run_of_a_pushed_branch_is_planned_again_once_its_pull_request_can_be_merged(
    followed: Stack, repository: Repository
) -> None:
    repository.push({"mine.tf": RESOURCE % "mine"}, branch="feature")
    repository.push({"theirs.tf": RESOURCE % "theirs"})
    look(followed)
    work()
    run = followed.runs.filter(kind="proposed").get()
    Run.objects.filter(pk=run.pk).update(state=State.QUEUED)
    (alone,) = work()
    assert (alone.behind, alone.destroyed) == (1, 1)
    assert BEHIND in alone.behind_warning
    one = repository.open_pull_request("feature")
    look(followed)
    make_reports_due()
    send_all()
    assert summaries(one.latest_statuses(iteration=1))[-1][0] == "pending"
    make_plan_again_due()
    assert plan_again_next()
    (again,) = work()
    assert (again.repeats, again.behind, again.destroyed) == (alone, 0, 0)
    assert again.note == "Planned again: its pull request became ready to merge."
    send_all()
    assert summaries(one.latest_statuses(iteration=1))[-1][0] == "succeeded"
