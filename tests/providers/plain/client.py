"""Calls to Plain, which is in this process."""

from collections.abc import Iterator, Sequence
from datetime import UTC

from tests.providers.plain import webhook
from tests.providers.plain.host import (
    PROJECT,
    Commit,
    Hook,
    Organization,
    PullRequest,
    Repository,
    move_as_json,
)
from vcs_integrations.providers import base
from vcs_integrations.providers.base import Problem, ProviderError
from vcs_integrations.providers.events import (
    PullRequestFacts,
    PullRequestStatus,
    Push,
    RefChanged,
    RemoteCommit,
    Revision,
    TrialMerge,
)


class PlainClient:
    """Implements `vcs_integrations.providers.base.Client`, which documents the methods."""

    def __init__(self, organization: Organization, token: str) -> None:
        self._organization, self._token = organization, token

    def connect(self) -> base.Connection:
        if self._token != self._organization.token:
            raise ProviderError(Problem.TOKEN_REFUSED, "Plain refuses the token.", "Enter another.")
        listed = [_remote(one) for one in self._organization.repositories.values()]
        return base.Connection(organization_id="", repositories=listed)

    def present_url(self, organization_id: str) -> str:
        return ""

    def repository(self, repository_id: str) -> base.RemoteRepository:
        return _remote(self._repository(repository_id))

    def branches(self, repository_id: str) -> list[base.RemoteBranch]:
        branches = self._repository(repository_id).branches
        return [base.RemoteBranch(name, commit.sha) for name, commit in branches.items()]

    def branch(self, repository_id: str, name: str) -> base.RemoteBranch | None:
        commit = self._repository(repository_id).branches.get(name)
        return base.RemoteBranch(name, commit.sha) if commit else None

    def tags(self, repository_id: str) -> list[base.RemoteTag]:
        tags = self._repository(repository_id).tags
        return [base.RemoteTag(name, commit.sha, commit.sha) for name, commit in tags.items()]

    def tag(self, repository_id: str, name: str) -> base.RemoteTag | None:
        return next((tag for tag in self.tags(repository_id) if tag.name == name), None)

    def tag_text(self, repository_id: str, sha: str) -> str:
        raise _missing("annotated tag")

    def commit(self, repository_id: str, sha: str) -> RemoteCommit:
        found = self._commit(repository_id, sha)
        return RemoteCommit(found.sha, found.message, "Ann", None)

    def commits(self, repository_id: str, shas: Sequence[str]) -> list[RemoteCommit]:
        return [self.commit(repository_id, sha) for sha in shas]

    def files(self, repository_id: str, sha: str) -> list[str]:
        return [*self._commit(repository_id, sha).files]

    def file_text(self, repository_id: str, sha: str, path: str) -> str | None:
        return self._commit(repository_id, sha).files.get(path)

    def changes(
        self, repository_id: str, base: str, head: str, *, from_merge_base: bool
    ) -> base.ChangeSet:
        old, new = self._commit(repository_id, base), self._commit(repository_id, head)
        meeting = next(one for one in new.ancestors() if one in old.ancestors())
        return _change_set(meeting if from_merge_base else old, new, meeting)

    def commits_behind(self, repository_id: str, base: str, head: str) -> int:
        known = self._commit(repository_id, head).ancestors()
        return sum(one not in known for one in self._commit(repository_id, base).ancestors())

    def push(self, repository_id: str, position: int) -> list[RefChanged]:
        found = [one for one in self._moves(repository_id) if one.position == position]
        if not found:
            raise _missing("push")
        return found

    def pushes_since(self, repository_id: str, position: int, *, ref: str = "") -> Iterator[Push]:
        for one in reversed(self._moves(repository_id)):
            if one.position > position and ref in {"", one.ref}:
                yield Push(repository_id, one.position, one.pushed_at, (one,))

    def newest_push(self, repository_id: str, *, ref: str = "") -> Push | None:
        return next(self.pushes_since(repository_id, 0, ref=ref), None)

    def pull_request(self, repository_id: str, number: int) -> PullRequestFacts:
        return self._facts(repository_id, self._pull_request(repository_id, number))

    def revisions(self, repository_id: str, number: int) -> list[Revision]:
        return []

    def revision_changes(
        self, repository_id: str, number: int, revision: int
    ) -> list[base.RemoteChange]:
        facts = self.pull_request(repository_id, number)
        target = self._repository(repository_id).branches[facts.target_branch].sha
        found = self.changes(repository_id, target, facts.source_sha, from_merge_base=True)
        return [*found.changes]

    def pull_requests(self, repository_id: str, *, open_only: bool) -> Iterator[PullRequestFacts]:
        for one in reversed(self._repository(repository_id).pull_requests.values()):
            if not open_only or one.status == "open":
                yield self._facts(repository_id, one)

    def create_commit_status(self, repository_id: str, sha: str, report: base.StatusReport) -> None:
        self._repository(repository_id).statuses.setdefault(sha, []).append(report)

    def commit_statuses(self, repository_id: str, sha: str) -> list[base.StatusReport]:
        there = self._repository(repository_id).statuses.get(sha, [])
        return [*{(one.genre, one.name): one for one in there}.values()]

    def create_pull_request_status(
        self, repository_id: str, number: int, revision: int, report: base.StatusReport
    ) -> None:
        raise ProviderError(Problem.REFUSED, "Plain has no statuses of pull requests.", "")

    def pull_request_statuses(self, repository_id: str, number: int) -> list[base.RemoteStatus]:
        return []

    def create_thread(self, repository_id: str, number: int, content: str) -> base.RemoteComment:
        comments = self._pull_request(repository_id, number).comments
        made = base.RemoteComment(len(comments) + 1, 1, content)
        comments[made.thread_id] = content
        return made

    def edit_comment(
        self, repository_id: str, number: int, thread_id: int, comment_id: int, content: str
    ) -> None:
        self._pull_request(repository_id, number).comments[thread_id] = content

    def first_comments(self, repository_id: str, number: int) -> list[base.RemoteComment]:
        comments = self._pull_request(repository_id, number).comments
        return [base.RemoteComment(key, 1, content) for key, content in comments.items()]

    def subscriptions(self) -> list[base.RemoteSubscription]:
        return [_subscription(hook) for hook in self._organization.hooks.values()]

    def subscription(self, external_id: str) -> base.RemoteSubscription | None:
        hook = self._organization.hooks.get(external_id)
        return _subscription(hook) if hook else None

    def create_subscription(self, hook: base.Hook) -> str:
        made = Hook(f"hook-{len(self._organization.hooks) + 1}", "", "")
        self._organization.hooks[made.id] = made
        self.replace_subscription(made.id, hook)
        return made.id

    def replace_subscription(self, external_id: str, hook: base.Hook) -> None:
        present = self._organization.hooks[external_id]
        present.url, present.secret, present.label = hook.url, hook.password, hook.username

    def remove_subscription(self, external_id: str) -> None:
        self._organization.hooks.pop(external_id, None)

    def send_test(self, external_id: str) -> str:
        return self._organization.ping(self._organization.hooks[external_id])

    def notification(
        self, external_id: str, notification_id: str
    ) -> base.RemoteNotification | None:
        return None

    def check_rights(self, projects: Sequence[base.ProjectInUse]) -> list[base.Finding]:
        return []

    def _repository(self, repository_id: str) -> Repository:
        found = self._organization.repositories.get(repository_id)
        if found is None:
            raise _missing("repository")
        return found

    def _commit(self, repository_id: str, sha: str) -> Commit:
        found = self._repository(repository_id).commits.get(sha)
        if found is None:
            raise _missing("commit")
        return found

    def _pull_request(self, repository_id: str, number: int) -> PullRequest:
        found = self._repository(repository_id).pull_requests.get(number)
        if found is None:
            raise _missing("pull request")
        return found

    def _moves(self, repository_id: str) -> list[RefChanged]:
        moves = self._repository(repository_id).moves
        read = [webhook.read_move(repository_id, move_as_json(move)) for move in moves]
        return [one for one in read if one]

    def _facts(self, repository_id: str, one: PullRequest) -> PullRequestFacts:
        source = self._repository(repository_id).branches.get(one.source)
        return PullRequestFacts(
            number=one.number,
            title=one.title,
            author="Ann",
            status=PullRequestStatus(one.status),
            is_draft=False,
            is_from_fork=False,
            source_branch=one.source,
            target_branch=one.target,
            source_sha=source.sha if source else "",
            trial_merge=TrialMerge.UNKNOWN,
            created_at=one.created_at.astimezone(UTC),
        )


def _missing(what: str) -> ProviderError:
    return ProviderError(Problem.NOT_FOUND, f"Plain has no such {what}.", "Choose another.")


def _remote(one: Repository) -> base.RemoteRepository:
    default = "main" if one.branches else ""
    return base.RemoteRepository(one.id, one.name, PROJECT, PROJECT, default, is_disabled=False)


def _subscription(hook: Hook) -> base.RemoteSubscription:
    return base.RemoteSubscription(hook.id, webhook.ALL, PROJECT, hook.url, username=hook.label)


def _change_set(old: Commit, new: Commit, meeting: Commit) -> base.ChangeSet:
    paths = {*old.files, *new.files}
    changed = [path for path in paths if old.files.get(path) != new.files.get(path)]
    return base.ChangeSet(meeting.sha, [base.RemoteChange("modified", path) for path in changed])
