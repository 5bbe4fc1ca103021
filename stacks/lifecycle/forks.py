"""Running a commit of a fork once, in a stack that does not run the code of forks."""

from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet

from accounts.models import User
from stacks.lifecycle.starting import start_proposed
from stacks.models import Decision, PullRequest, Run, RunAction, RunSource, Stack
from stacks.rules import triggers
from stacks.rules.states import Kind
from stacks.rules.triggers import Rule
from vcs_integrations.models import Repository
from vcs_integrations.providers.base import INTERACTIVE
from vcs_integrations.providers.events import PullRequestStatus, RemoteCommit


class NotAllowed(Exception):
    """A commit can't be allowed (any more); the text says why, `newer` names a newer one."""

    def __init__(self, because: str, *, newer: str = "", run: Run | None = None) -> None:
        super().__init__(because)
        self.newer = newer
        self.run = run


@dataclass(frozen=True)
class RemoteState:
    """A commit as the provider describes it, and the newest one of its pull request."""

    commit: RemoteCommit
    newest_sha: str


def is_refused(run: Run) -> bool:
    """Say whether a run is of a fork's code that its stack does not run.

    A permission holds for exactly the commit for which a person gave it.
    """
    if not run.is_of_fork or run.stack.runs_forks:
        return False
    return not _permissions(run).exists()


def is_allowed_once(run: Run) -> bool:
    """Say whether a run is of a fork's code that a person allowed to run."""
    return run.is_of_fork and not run.stack.runs_forks and _permissions(run).exists()


def pull_request_of(stack: Stack, sha: str) -> PullRequest | None:
    """Return the pull request of a fork that proposes a commit to a stack, or once did."""
    of_forks = stack.repository.pull_requests.filter(is_from_fork=True)
    now = of_forks.filter(source_sha=sha)
    once = of_forks.filter(reports__stack=stack, reports__sha=sha)
    rows = now.filter(status=PullRequestStatus.OPEN), now, once
    return next((found for row in rows if (found := row.order_by("-number").first())), None)


def read(pull_request: PullRequest, sha: str) -> RemoteState:
    """Read a commit of a pull request from the provider. Raises ProviderError."""
    repository = pull_request.repository
    client = repository.integration.client(INTERACTIVE)
    revisions = client.revisions(repository.external_id, pull_request.number)
    newest = revisions[-1].source_sha if revisions else pull_request.source_sha
    return RemoteState(client.commit(repository.external_id, sha), newest)


def check(stack: Stack, pull_request: PullRequest, sha: str, newest_sha: str = "") -> None:
    """Raise NotAllowed where a commit can't be allowed, with why.

    `newest_sha` is the newest commit as it was just read, else the stored one counts.
    """
    if stack.is_detached:
        raise NotAllowed("The stack is detached, so its runs wait. Attach it first.")
    place = (pull_request.repository_id, pull_request.target_branch)
    if not pull_request.is_open or place != (
        stack.repository_id,
        stack.branch,
    ):
        raise NotAllowed(f"{pull_request} is not open to {stack.branch} any more.")
    newest = newest_sha or pull_request.source_sha
    if newest != sha:
        raise NotAllowed(f"{pull_request} has a newer commit by now.", newer=newest)
    counting = stack.runs.filter(kind=Kind.PROPOSED, sha=sha).of_code().that_count().first()
    if counting:
        raise NotAllowed(f"{counting} has this commit already.", run=counting)


@transaction.atomic
def allow(stack: Stack, pull_request: PullRequest, found: RemoteState, person: User) -> Run:
    """Start a proposed run of exactly this commit in somebody's name.

    Raises NotAllowed, also when somebody else, or a newer commit, was quicker.
    """
    # If two press it at once, or an event comes at the same moment, one waits here.
    Repository.objects.select_for_update().get(pk=stack.repository_id)
    stack.refresh_from_db(fields=["branch", "repository"])
    pull_request.refresh_from_db()
    check(stack, pull_request, found.commit.sha, found.newest_sha)
    check(stack, pull_request, found.commit.sha)
    name = person.get_username()
    sentence = f"{name} allowed this commit of a fork to run once."
    run = start_proposed(
        stack,
        found.commit,
        RunSource(
            branch=pull_request.source_branch[:500],
            pull_request=pull_request,
            revision=pull_request.revision,
        ),
        note=sentence,
        is_reconciled=False,
    )
    RunAction.objects.create(run=run, action=RunAction.Action.ALLOW, person=person, username=name)
    decided = triggers.Decision(Rule.ALLOWED, sentence, starts_run=True)
    Decision.objects.record(stack, str(pull_request), decided, None, run)
    return run


def _permissions(run: Run) -> QuerySet[RunAction]:
    return RunAction.objects.filter(
        action=RunAction.Action.ALLOW, run__stack=run.stack_id, run__sha=run.sha
    )
