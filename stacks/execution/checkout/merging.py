"""What is planned of proposed code: the tracked branch as it would be after the merge.

If that isn't available, the commit itself is planned, and the run says what its plan lacks.
"""

import time
from typing import Any

from stacks.execution.checkout import workspace
from stacks.execution.checkout.workspace import Git, MergeSource
from stacks.execution.isolation.sandbox import Stopped
from stacks.models import Run
from stacks.rules.states import Kind
from vcs_integrations.providers.base import BACKGROUND, ProviderError
from vcs_integrations.providers.events import BRANCHES, PullRequestFacts, TrialMerge

# A provider may make the trial merge seconds after a push, or only once somebody reads the pull
# request.
WAIT_AT_MOST = 30  # seconds
ASK_EVERY = 2
NOT_TRIED_YET = {TrialMerge.UNKNOWN, TrialMerge.PENDING}
LONGEST = 200  # characters of the file that names a merge


def tracked_now(run: Run) -> str:
    """Return the newest commit of the tracked branch, as it is known where it can't be read."""
    client = run.repository.integration.client(BACKGROUND)
    try:
        branch = client.branch(run.repository.external_id, run.stack.branch)
    except ProviderError:
        return run.stack.head_sha
    return branch.sha if branch else ""


def fetch(git: Git) -> bool:
    """Put what is planned of a run into the folder `code`; say whether that was possible.

    Raises LimitReached and Stopped.
    """
    return workspace.fetch(git, _source_of_merge(git))


def fields_of_fetched(git: Git) -> dict[str, Any]:
    """Return the fields of a proposed run that say what was fetched, and what that lacks.

    Raises LimitReached.
    """
    run = git.run
    merged = git.sandbox.read_at_once(workspace.MERGED, LONGEST).decode().strip()
    merge, _, merged_with = merged.partition(" ")
    if merged_with:
        git.log.say(f"It is planned as it would be merged: {merge[:8]}, with {merged_with[:8]}")
    return {
        "planned_sha": merge if merged_with else "",
        "merged_with": merged_with,
        "conflicts": merged == workspace.CONFLICTS,
        "behind": _behind(run, merged_with or run.sha),
    }


def _source_of_merge(git: Git) -> MergeSource | None:
    """Return where to fetch the merge of a run's pull request; None to plan its commit."""
    run = git.run
    if run.kind != Kind.PROPOSED or run.pull_request is None or not run.stack.plans_merged:
        return None
    ref = run.repository.integration.provider.merge_ref(run.pull_request.number)
    if not ref:
        return MergeSource(tracked_ref=f"{BRANCHES}{run.stack.branch}")
    now = _pull_request_once_tried(git, run.pull_request.number)
    is_ours = now and (now.source_sha, now.target_branch) == (run.sha, run.stack.branch)
    if now and is_ours and not now.has_conflicts:
        return MergeSource(ref=ref)
    return None


def _pull_request_once_tried(git: Git, number: int) -> PullRequestFacts | None:
    """Return a pull request once its merge was tried, or else as it is; None if not to be read."""
    repository = git.run.repository
    client = repository.integration.client(BACKGROUND)
    until = time.monotonic() + WAIT_AT_MOST
    try:
        while True:
            now = client.pull_request(repository.external_id, number)
            if now.trial_merge not in NOT_TRIED_YET or time.monotonic() > until:
                return now
            git.log.say("Waiting for the merge of the pull request to be tried")
            _pause(git)
    except ProviderError as error:
        git.log.say(f"The pull request could not be read: {error.cause}")
        return None


def _pause(git: Git) -> None:
    until = time.monotonic() + ASK_EVERY
    while time.monotonic() < until:
        if git.is_unwanted():
            raise Stopped
        time.sleep(0.1)


def _behind(run: Run, sha: str) -> int | None:
    """Return how many commits of the tracked branch a commit lacks; None if not known."""
    if sha == run.tracked_sha:
        return 0
    if not run.tracked_sha:
        return None
    client = run.repository.integration.client(BACKGROUND)
    try:
        return client.commits_behind(run.repository.external_id, run.tracked_sha, sha)
    except ProviderError:
        return None
