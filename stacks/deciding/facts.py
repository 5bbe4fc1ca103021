"""What decisions need from the provider, read before they are made and remembered.

What a delivery claims decides nothing: it only says what to read, and may be contradicted.

Reading takes long, and decisions are made in a transaction that must be short. So the methods
`read_…` come first, and the others, which only look up, serve the transaction.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from stacks.models import PullRequest, Stack
from stacks.module_registry import TagNow
from stacks.rules.triggers import ChangedPaths
from vcs_integrations.consumer import Outdated
from vcs_integrations.models import Integration
from vcs_integrations.providers.base import (
    Client,
    Problem,
    ProviderError,
    RemoteChange,
    RemoteTag,
)
from vcs_integrations.providers.events import (
    BRANCHES,
    PullRequestChanged,
    PullRequestFacts,
    PullRequestStatus,
    PushAnnounced,
    RefChanged,
    RemoteCommit,
    Revision,
)
from vcs_integrations.webhooks.pushes import read_push

T = TypeVar("T")
NO_COMMIT = RemoteCommit("", "", "", None)


class Contradicted(Exception):
    """The provider contradicts what an event claims; the text says how, without a period."""


@dataclass(frozen=True)
class PullRequestNow:
    """A pull request as it was just read, and the version of what was stored before."""

    facts: PullRequestFacts
    revisions: list[Revision]
    stored_version: int | None

    @property
    def targets(self) -> dict[int, str]:
        """The target branch that each revision had, by its number."""
        found, target = {}, self.facts.target_branch
        for revision in reversed(self.revisions):
            found[revision.number] = target
            target = revision.old_target or target
        return found


class Facts:
    """What one integration's provider says about a few events.

    With `gives_up` nothing is waited for: what can't be read now counts as unknown. Otherwise every
    method that reads raises ProviderError if the same can be read later.
    """

    def __init__(
        self, integration: Integration, client: Client | None = None, *, gives_up: bool = False
    ) -> None:
        self._integration = integration
        self._gives_up = gives_up
        self._client = client
        self._known: dict[tuple[object, ...], object] = {}

    def forget_pull_requests(self) -> None:
        """Have pull requests read again: what was stored of one changed meanwhile."""
        self._known = {key: value for key, value in self._known.items() if key[0] != "now"}

    # Reading

    def read_push(self, event: PushAnnounced) -> Sequence[RefChanged] | None:
        """Return what a push changed; None if that can't be read.

        Raises Contradicted if there is no such push, or it changed something else.
        """
        integration, repository_id, position = (
            self._integration,
            event.repository_id,
            event.position,
        )

        def read() -> Sequence[RefChanged] | None:
            try:
                return read_push(integration, repository_id, position, self._calls) or None
            except ProviderError as error:
                self._raise_unless_final(error)
                self._refute_if_missing(error, repository_id, f"push {position}")
                return None

        changes = self._remember(_push_key(event), read)
        for claim in event.claims if changes else ():
            if not any(_agree(claim, change) for change in changes or ()):
                raise Contradicted(
                    f"Push {position} did not change {claim.ref[:80]} as claimed, "
                    f"{self._integration.provider.name} says"
                )
        return changes

    def read_pull_request(self, event: PullRequestChanged) -> PullRequestNow | None:
        """Return a pull request as it is now; None if that can't be read.

        Raises Contradicted if there is no such pull request, or it can't be as claimed.
        """

        def read() -> PullRequestNow | None:
            stored = PullRequest.objects.filter(
                repository__integration=self._integration,
                repository__external_id=event.repository_id,
                number=event.number,
            )
            before = stored.only("version", "revision", "source_sha").first()
            try:
                facts = self._calls().pull_request(event.repository_id, event.number)
            except ProviderError as error:
                self._raise_unless_final(error)
                if error.problem != Problem.NOT_FOUND or event.facts is None:
                    what = f"pull request {event.number}"
                    self._refute_if_missing(error, event.repository_id, what)
                    return None
                facts = event.facts
            try:
                revisions = self._calls().revisions(event.repository_id, event.number)
            except ProviderError as error:
                self._raise_unless_final(error)
                if error.problem != Problem.NOT_FOUND or not facts.source_sha:
                    return None
                revisions = []
            revisions = revisions or [_next_revision(facts, before)]
            return _as_of_newest(facts, revisions, before.version if before else None)

        now = self._remember(_pull_request_key(event), read)
        # Everything else that is claimed may have been so before.
        merged = PullRequestStatus.MERGED
        is_claimed_merged = event.claims is not None and event.claims.status == merged
        if now and is_claimed_merged and now.facts.status != merged:
            provider = self._integration.provider.name
            raise Contradicted(f"Pull request {event.number} is not merged, {provider} says")
        return now

    def read_commit(self, repository_id: str, sha: str) -> RemoteCommit:
        """Return a commit, of which only the sha is known where the rest can't be read."""

        def read() -> RemoteCommit:
            try:
                return self._calls().commit(repository_id, sha)
            except ProviderError as error:
                self._raise_unless_final(error)
                return RemoteCommit(sha, "", "", None)

        return self._remember(_commit_key(repository_id, sha), read)

    def read_tag(self, repository_id: str, name: str) -> TagNow | None:
        """Return a tag as it is now; None if that can't be read."""

        def read() -> TagNow | None:
            try:
                tag = self._calls().tag(repository_id, name)
                if tag is None:
                    return TagNow("", NO_COMMIT, "")
                commit = self._tagged(repository_id, tag.commit_sha)
                text = text_of_tag(self._calls(), repository_id, tag)
            except ProviderError as error:
                self._raise_unless_final(error)
                return None
            return TagNow(tag.sha, commit, text)

        return self._remember(_tag_key(repository_id, name), read)

    def read_file(self, repository_id: str, sha: str, path: str) -> str | None:
        """Return the text of a file of a commit, empty if there is none; None if unreadable."""

        def read() -> str | None:
            try:
                return self._calls().file_text(repository_id, sha, path) or ""
            except ProviderError as error:
                self._raise_unless_final(error)
                return None

        return self._remember(_file_key(repository_id, sha, path), read)

    def read_paths(self, change: RefChanged) -> Collection[str] | None:
        """Return which files a push changed since the old commit; None if that can't be read."""
        if not change.old_sha or not change.new_sha:
            return None
        found, _ = self._difference(change, change.old_sha, from_merge_base=False)
        return None if found.unknown_because else found.paths

    def read_paths_of_push(self, stack: Stack, event: RefChanged) -> ChangedPaths:
        """Return what a push changed, for a stack.

        On the tracked branch that is the difference from the old commit. On another it is
        what was pushed; a branch that was created or rewritten is compared with its merge
        base with the tracked branch as that was then.
        """
        return self._remember(
            _paths_of_push_key(stack, event), lambda: self._paths_of_push(stack, event)
        )

    def read_paths_of_revision(
        self, repository_id: str, number: int, revision: Revision
    ) -> ChangedPaths:
        """Return what a pull request changes, compared with its merge base."""

        def read() -> ChangedPaths:
            try:
                changes = self._calls().revision_changes(repository_id, number, revision.number)
            except ProviderError as error:
                return self._unknown_paths(error)
            return _changed_paths(changes)

        return self._remember(_paths_of_revision_key(repository_id, number, revision), read)

    # What was read

    def changes_of(self, event: PushAnnounced) -> Sequence[RefChanged] | None:
        """Return what a push changed; None if that can't be read. Raises Outdated."""
        return self._read_before(_push_key(event))  # type: ignore[return-value]

    def pull_request(self, event: PullRequestChanged) -> PullRequestNow | None:
        """Return a pull request as it was read; None if that can't be read. Raises Outdated."""
        return self._read_before(_pull_request_key(event))  # type: ignore[return-value]

    def commit(self, repository_id: str, sha: str) -> RemoteCommit:
        """Return a commit that was read. Raises Outdated."""
        return self._read_before(_commit_key(repository_id, sha))  # type: ignore[return-value]

    def tag(self, repository_id: str, name: str) -> TagNow | None:
        """Return a tag as it was read; None if that can't be read. Raises Outdated."""
        return self._read_before(_tag_key(repository_id, name))  # type: ignore[return-value]

    def file(self, repository_id: str, sha: str, path: str) -> str | None:
        """Return the text of a file that was read. Raises Outdated."""
        return self._read_before(_file_key(repository_id, sha, path))  # type: ignore[return-value]

    def paths(self, change: RefChanged) -> Collection[str] | None:
        """Return which files a push changed, as that was read. Raises Outdated."""
        if not change.old_sha or not change.new_sha:
            return None
        key = _difference_key(change, change.old_sha, from_merge_base=False)
        found: ChangedPaths = self._read_before(key)[0]  # type: ignore[index]
        return None if found.unknown_because else found.paths

    def paths_of_push(self, stack: Stack, event: RefChanged) -> ChangedPaths | None:
        """Return what a push changed, for a stack; None if that was not read."""
        return self._known.get(_paths_of_push_key(stack, event))  # type: ignore[return-value]

    def paths_of_revision(
        self, repository_id: str, number: int, revision: Revision
    ) -> ChangedPaths | None:
        """Return what a pull request changes; None if that was not read."""
        key = _paths_of_revision_key(repository_id, number, revision)
        return self._known.get(key)  # type: ignore[return-value]

    def _paths_of_push(self, stack: Stack, event: RefChanged) -> ChangedPaths:
        if event.branch == stack.branch:
            return self._difference(event, event.old_sha, from_merge_base=False)[0]
        if not event.is_creation:
            pushed, merge_base = self._difference(event, event.old_sha, from_merge_base=True)
            if merge_base == event.old_sha:
                return pushed
        base = self._tracked_then(stack, event)
        if not base:
            return ChangedPaths((), f"where {stack.branch} was then can't be read.")
        return self._difference(event, base, from_merge_base=True)[0]

    def _difference(
        self, event: RefChanged, base: str, *, from_merge_base: bool
    ) -> tuple[ChangedPaths, str]:
        """Return what differs between a commit and a push's, and their merge base if known."""

        def read() -> tuple[ChangedPaths, str]:
            try:
                found = self._calls().changes(
                    event.repository_id, base, event.new_sha, from_merge_base=from_merge_base
                )
            except ProviderError as error:
                return self._unknown_paths(error), ""
            return _changed_paths(found.changes), found.merge_base

        return self._remember(_difference_key(event, base, from_merge_base=from_merge_base), read)

    def _tagged(self, repository_id: str, sha: str) -> RemoteCommit:
        """Return the commit that a tag leads to; an empty one where it leads to something else."""
        try:
            return self._calls().commit(repository_id, sha)
        except ProviderError as error:
            if error.problem != Problem.NOT_FOUND:
                raise
            return NO_COMMIT

    def _tracked_then(self, stack: Stack, event: RefChanged) -> str:
        """Return the commit of the tracked branch when something was pushed elsewhere."""

        def read() -> str:
            ref = f"{BRANCHES}{stack.branch}"
            try:
                pushes = self._calls().pushes_since(event.repository_id, 0, ref=ref)
                then = (push for push in pushes if push.position <= event.position)
                moves = [one.new_sha for one in next(then).changes if one.ref == ref]
                return moves[0] if moves else ""
            except StopIteration:  # imported, perhaps: no push brought it
                branch = self._calls().branch(event.repository_id, stack.branch)
                return branch.sha if branch else ""
            except ProviderError as error:
                self._raise_unless_final(error)
                return ""

        return self._remember(("tracked", stack.branch, event.repository_id, event.position), read)

    def _unknown_paths(self, error: ProviderError) -> ChangedPaths:
        self._raise_unless_final(error)
        return ChangedPaths((), error.cause)

    def _remember(self, key: tuple[object, ...], read: Callable[[], T]) -> T:
        if key not in self._known:
            self._known[key] = read()
        return self._known[key]  # type: ignore[return-value]

    def _read_before(self, key: tuple[object, ...]) -> object:
        if key not in self._known:
            raise Outdated
        return self._known[key]

    def _refute_if_missing(self, error: ProviderError, repository_id: str, what: str) -> None:
        """Raise Contradicted where something does not exist in a repository that can be read."""
        if error.problem != Problem.NOT_FOUND:
            return
        try:
            self._calls().repository(repository_id)
        except ProviderError as unreadable:
            self._raise_unless_final(unreadable)
        else:
            name = self._integration.provider.name
            raise Contradicted(f"{name} has no {what} in this repository")

    def _raise_unless_final(self, error: ProviderError) -> None:
        """Raise an error that may pass, unless nothing is waited for any more."""
        if error.problem != Problem.NOT_FOUND and not self._gives_up:
            raise error

    def _calls(self) -> Client:
        return self._client or self._integration.background_client


def text_of_tag(client: Client, repository_id: str, tag: RemoteTag) -> str:
    """Return the text of an annotated tag; empty for another one, and where it is gone by now.

    Raises ProviderError.
    """
    if not tag.is_annotated:
        return ""
    try:
        return client.tag_text(repository_id, tag.sha)
    except ProviderError as error:
        if error.problem != Problem.NOT_FOUND:
            raise
        return ""


def _push_key(event: PushAnnounced) -> tuple[object, ...]:
    return ("push", event.repository_id, event.position)


def _pull_request_key(event: PullRequestChanged) -> tuple[object, ...]:
    return ("now", event.repository_id, event.number)


def _commit_key(repository_id: str, sha: str) -> tuple[object, ...]:
    return ("commit", repository_id, sha)


def _tag_key(repository_id: str, name: str) -> tuple[object, ...]:
    return ("tag", repository_id, name)


def _file_key(repository_id: str, sha: str, path: str) -> tuple[object, ...]:
    return ("file", repository_id, sha, path)


def _difference_key(event: RefChanged, base: str, *, from_merge_base: bool) -> tuple[object, ...]:
    return ("changes", event.repository_id, base, event.new_sha, from_merge_base)


def _paths_of_push_key(stack: Stack, event: RefChanged) -> tuple[object, ...]:
    return ("paths", stack.branch, event)


def _paths_of_revision_key(
    repository_id: str, number: int, revision: Revision
) -> tuple[object, ...]:
    return ("revision", repository_id, number, revision.number)


def _next_revision(now: PullRequestFacts, before: PullRequest | None) -> Revision:
    """Return the revision that a pull request has where its host counts none."""
    number = before.revision if before else 0
    is_new = before is None or before.source_sha != now.source_sha
    return Revision(number + is_new, now.source_sha, None, None)


def _as_of_newest(
    facts: PullRequestFacts, revisions: list[Revision], version: int | None
) -> PullRequestNow:
    """Let the newest revision say which commit it is: a push may fall between two calls."""
    return PullRequestNow(replace(facts, source_sha=revisions[-1].source_sha), revisions, version)


def _agree(claim: RefChanged, change: RefChanged) -> bool:
    """Say whether a ref was moved as claimed; some deliveries leave the old commit out."""
    is_same = (claim.ref, claim.new_sha) == (change.ref, change.new_sha)
    return is_same and claim.old_sha in {"", change.old_sha}


def _changed_paths(changes: Collection[RemoteChange]) -> ChangedPaths:
    if not all(change.path for change in changes):
        return ChangedPaths((), "a change was listed without its path.")
    if any(change.kind == "renamed" and not change.old_path for change in changes):
        return ChangedPaths((), "the previous path of a renamed file is unknown.")
    return ChangedPaths({path for change in changes for path in _paths_of(change)})


def _paths_of(change: RemoteChange) -> list[str]:
    """Return both ends of a change, those of a submodule with a slash at their end."""
    end = "/" if change.is_submodule else ""
    return [f"{path}{end}" for path in (change.path, change.old_path) if path]
