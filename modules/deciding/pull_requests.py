"""A pull request to a module's branch: its newest commit is checked, unless a fork proposes it.

One that changes nothing of the module is not checked either, whoever proposes it.
"""

from collections.abc import Collection

from modules.models import Module
from modules.rules.decisions import Decided, Rule
from modules.rules.folders import touches
from stacks.deciding.intake import decide_events
from stacks.models import PullRequest
from vcs_integrations.providers.base import Client
from vcs_integrations.providers.events import PullRequestChanged, PullRequestStatus

# Of those that were open before; the others are decided once something of them changes.
MOST_OPEN = 50


def subject_of(pull_request: PullRequest, revision: int) -> str:
    """Return how decisions name a revision."""
    return f"{pull_request}, revision {revision}"


def decide(
    module: Module, pull_request: PullRequest, sha: str, paths: Collection[str] | None
) -> Decided:
    """Decide whether a module's code is checked as a pull request proposes it.

    `paths` are the files that it changes, None if they are unknown.
    """
    if pull_request.target_branch != module.branch:
        return Decided(Rule.OTHER_TARGET, f"The module tracks {module.branch}.")
    if not pull_request.is_open:
        return Decided(Rule.ENDED, f"The pull request is {pull_request.status}.")
    if not touches(module.folder, paths):
        return Decided(Rule.UNTOUCHED, f"It changes nothing in {module.folder}.")
    if pull_request.is_from_fork:
        sentence = "It comes from a fork, whose code anybody may have written: it is not checked."
        return Decided(Rule.FORK, sentence)
    return Decided(Rule.PROPOSED, f"Commit {sha[:8]} is checked.")


def decide_open(module: Module, client: Client) -> None:
    """Decide the newest open pull requests that were there before a module followed its branch.

    That is needed only for those that are stored: a reconciliation finds the others. Raises
    ProviderError; whoever is killed may begin again.
    """
    repository = module.repository
    known = repository.pull_requests.filter(status=PullRequestStatus.OPEN)
    to_branch = known.filter(target_branch=module.branch).order_by("-number")
    for number in to_branch.values_list("number", flat=True)[:MOST_OPEN]:
        event = PullRequestChanged(repository.external_id, number)
        decide_events(module.integration, [event], client=client)
