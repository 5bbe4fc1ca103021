"""Pull requests: iterations, merges tried with real git, what is posted, and how they end.

What happens is sent to the hooks in the order in which Azure DevOps raises it: created or updated
first, then the attempted merge.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .errors import RefusedError
from .git import NO_OBJECT, GitError
from .statuses import Context, Status, StatusPolicy, latest
from .threads import Thread, check_thread_status

if TYPE_CHECKING:
    from .model import Identity, Push, Repository

CREATED, UPDATED = "git.pullrequest.created", "git.pullrequest.updated"
MERGED = "git.pullrequest.merged"
ACTIVE, ABANDONED, COMPLETED = "active", "abandoned", "completed"
QUEUED, SUCCEEDED, CONFLICTS, FAILURE = "queued", "succeeded", "conflicts", "failure"
COMMIT_LIMIT = 100
DESCRIPTION_LIMIT = 4000
_PUSHED = "PushNotification"
_REVIEWERS = "ReviewersUpdateNotification"
_STATUS = "StatusUpdateNotification"
_VOTED = "ReviewerVoteNotification"
_VOTES = {
    10: "approved",
    5: "has approved and left suggestions in",
    0: "reset their vote on",
    -5: "is waiting for the author of",
    -10: "rejected",
}


class PullRequestError(RefusedError):
    """A pull request cannot do this."""


@dataclass(frozen=True)
class Iteration:
    """One state of the source branch; `common` is the merge base, None if there is none.

    The commits are those that the target lacks, newest first, one more than is ever shown.
    """

    id: int
    author: Identity
    date: datetime
    source: str
    target: str
    common: str | None
    reason: str
    push_id: int | None
    commits: tuple[str, ...]
    old_target_ref: str = ""
    new_target_ref: str = ""


@dataclass
class Reviewer:
    """A person asked to review, and the vote: 10, 5, 0, -5 or -10."""

    person: Identity
    vote: int = 0
    is_required: bool = False


@dataclass(frozen=True)
class Change:
    """What happened to a pull request; `kind` is the notificationType, never sent along."""

    event_type: str
    text: str
    kind: str = ""


@dataclass(eq=False)
class PullRequest:
    """A pull request of a repository; the source branch may be in a fork."""

    repository: Repository
    source: Repository
    source_ref: str
    target_ref: str
    title: str
    description: str
    created_by: Identity
    creation_date: datetime
    is_draft: bool = False
    id: int = 0
    merge_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = ACTIVE
    merge_status: str = QUEUED
    source_commit: str = ""
    target_commit: str = ""
    merge_commit: str | None = None
    waits_for_merge: bool = False
    closed_date: datetime | None = None
    closed_by: Identity | None = None
    reviewers: list[Reviewer] = field(default_factory=list)
    iterations: list[Iteration] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    last_status_id: int = 0
    threads: list[Thread] = field(default_factory=list)

    @property
    def is_active(self) -> bool:
        """Whether it is neither completed nor abandoned."""
        return self.status == ACTIVE

    @property
    def is_from_fork(self) -> bool:
        """Whether the source branch is in another repository."""
        return self.source is not self.repository

    @property
    def url(self) -> str:
        """Its address in the browser."""
        return f"{self.repository.clone_url}/pullrequest/{self.id}"

    def iteration_missing(self, key: str) -> PullRequestError:
        """Return the refusal for an iteration that does not exist."""
        message = f"The iteration {key} of pull request {self.id} does not exist."
        return PullRequestError(message, "GitPullRequestIterationNotFoundException", 404)

    # What people do

    def open(self, reviewers: Sequence[Identity]) -> None:
        """Number and announce a new one; PullRequestError if it cannot be opened."""
        self._check_description(self.description)
        self._check_alone()
        source, target = self._tip(self.source, self.source_ref), self._target_tip()
        organization = self.repository.organization
        with organization.state.lock:
            organization.last_pull_request_id += 1
            self.id = organization.last_pull_request_id
        self.reviewers = [Reviewer(person) for person in reviewers]
        self.repository.pull_requests.append(self)
        self._add_iteration(source, target, "create", self.created_by)
        self._changed(self.created_by, "created", CREATED)
        self._try_merge(self.created_by)

    def push(self, files: dict[str, str | None], message: str = "Change files") -> str:
        """Push a commit to the source branch and return its sha."""
        return self.source.push(files, self.source_ref.removeprefix("refs/heads/"), message)

    def edit(
        self, title: str | None = None, description: str | None = None, user: str = "Ann Admin"
    ) -> None:
        """Change title or description."""
        with self.repository.lock:
            self._check_description(description or "")
            self.title = self.title if title is None else title
            self.description = self.description if description is None else description
            self._changed(self._person(user), "updated")

    def retarget(self, branch: str, user: str = "Ann Admin") -> None:
        """Let it lead to another branch; that makes an iteration."""
        with self.repository.lock:
            self._check_active()
            before = self.target_ref
            self.target_ref = f"refs/heads/{branch}"
            try:
                self._check_alone()
                target = self._target_tip()
            except PullRequestError:
                self.target_ref = before
                raise
            person = self._person(user)
            self._add_iteration(
                self.source_commit, target, "retarget", person, old_target_ref=before
            )
            self._changed(person, "changed the target branch of")
            self._try_merge(person)

    def set_draft(self, is_draft: bool, user: str = "Ann Admin") -> None:
        """Make it a draft, or publish it."""
        with self.repository.lock:
            self._check_active()
            self.is_draft = is_draft
            verb = "marked as draft" if is_draft else "published"
            self._changed(self._person(user), verb)

    def add_reviewer(
        self, reviewer: str, *, is_required: bool = False, user: str = "Ann Admin"
    ) -> None:
        """Ask somebody for a review."""
        with self.repository.lock:
            self._reviewer(self._person(reviewer)).is_required = is_required
            self._changed(self._person(user), "changed the reviewer list on", kind=_REVIEWERS)

    def vote(self, reviewer: str, vote: int) -> None:
        """Vote 10, 5, 0, -5 or -10; who was no reviewer becomes one."""
        with self.repository.lock:
            self._check_active()
            if vote not in _VOTES:
                raise PullRequestError(f"A vote is one of {sorted(_VOTES)}, not {vote}.")
            person = self._person(reviewer)
            self._reviewer(person).vote = vote
            self._changed(person, _VOTES[vote], kind=_VOTED)

    def abandon(self, user: str = "Ann Admin") -> None:
        """Close it without merging; pushes to the source branch do nothing to it from now on."""
        with self.repository.lock:
            self._check_active()
            person = self._person(user)
            self.status, self.closed_date, self.closed_by = ABANDONED, self._now(), person
            self._changed(person, ABANDONED, kind=_STATUS)

    def reactivate(self, user: str = "Ann Admin") -> None:
        """Open an abandoned one again; a source branch that moved makes an iteration."""
        with self.repository.lock:
            if self.status != ABANDONED:
                raise PullRequestError(f"Pull request {self.id} is {self.status}, not abandoned.")
            self._check_alone()
            source, target = self._tip(self.source, self.source_ref), self._target_tip()
            person = self._person(user)
            self.status, self.closed_date, self.closed_by = ACTIVE, None, None
            if source != self.source_commit:
                self._add_iteration(source, target, self._reason(source), person)
            self._changed(person, "reactivated", kind=_STATUS)
            self._try_merge(person)

    def complete(
        self,
        user: str = "Ann Admin",
        *,
        squash: bool = False,
        delete_source: bool = False,
        message: str = "",
    ) -> str:
        """Merge it into the target branch and return the commit.

        PullRequestError if it conflicts or if a branch policy misses a status. The target branch
        moves by a push of its own, and so does a deleted source branch.
        """
        with self.repository.lock:
            self._check_active()
            if self.is_draft:
                raise PullRequestError(f"Pull request {self.id} is a draft; publish it first.")
            self._check_policies()
            self.target_commit = self._target_tip()
            tree = self._merged_tree()
            if tree is None:
                raise PullRequestError(
                    f"Pull request {self.id} cannot be merged: {self.merge_status}.",
                    "GitPullRequestCannotBeMergedException",
                    409,
                )
            person = self._person(user)
            text = message or f"Merged PR {self.id}: {self.title}"
            parents = [self.target_commit] + ([] if squash else [self.source_commit])
            self.merge_commit = self._write_merge(tree, parents, text, person)
            self.status, self.closed_date, self.closed_by = COMPLETED, self._now(), person
            author = f"{person.name} <{person.email}>"
            self.repository.push_refs({self.target_ref: self.merge_commit}, author)
            self._changed(person, COMPLETED, kind=_STATUS)
            self._merge_attempted(person)
            if delete_source and self._is_source_unmoved():
                self.source.push_refs({self.source_ref: None}, author)
            return self.merge_commit

    # Statuses and the policies that ask for them

    def post_status(
        self,
        context: str | Context,
        state: str = "succeeded",
        *,
        iteration: int | None = None,
        description: str = "",
        target_url: str = "",
        properties: dict[str, Any] | None = None,
        user: str = "Ann Admin",
    ) -> Status:
        """Add a status, of one iteration or of the pull request as a whole.

        A context given as text is `genre/name`, divided by the last slash. RefusedError for a
        pull request that is not active, an iteration that does not exist, and a status without
        iteration where a policy is reset on push.
        """
        where = Context.of(context) if isinstance(context, str) else context
        person = self._person(user)
        with self.repository.lock:
            self._check_active()
            self._check_iteration(where, iteration)
            number = self.last_status_id + 1
            made = Status(
                number,
                where,
                state,
                description,
                target_url,
                person,
                self._now(),
                iteration,
                properties or {},
            )
            self.statuses.append(made)
            self.last_status_id = number
            self.repository.organization.state.save()
        return made

    def latest_statuses(self, iteration: int | None = None) -> list[Status]:
        """Return the last status of each context that was posted to an iteration.

        None means those that were posted to the pull request as a whole.
        """
        return latest(one for one in self.statuses if one.iteration_id == iteration)

    def remove_statuses(self, *numbers: int) -> None:
        """Remove statuses by their ids, all or none; the one before counts again."""
        with self.repository.lock:
            self._check_active()
            if missing := set(numbers) - {one.id for one in self.statuses}:
                raise self.status_missing(str(min(missing)))
            self.statuses = [one for one in self.statuses if one.id not in numbers]
            self.repository.organization.state.save()

    def status_missing(self, key: str) -> PullRequestError:
        """Return the refusal for a status that does not exist."""
        message = f"The status {key} of pull request {self.id} does not exist."
        return PullRequestError(message, "GitPullRequestStatusNotFoundException", 404)

    @property
    def policies(self) -> list[StatusPolicy]:
        """The branch policies that concern it."""
        return [one for one in self.repository.policies if one.target_ref == self.target_ref]

    def deciding_status(self, policy: StatusPolicy) -> Status | None:
        """Return the status that a policy checks: with reset, one of the newest iteration."""
        newest = self.iterations[-1].id
        found = (
            one
            for one in reversed(self.statuses)
            if one.context == policy.context
            and (one.iteration_id == newest or not policy.reset_on_push)
        )
        return next(found, None)

    # Threads

    def add_thread(
        self,
        content: str,
        *,
        status: str = "active",
        properties: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        pull_request_context: dict[str, Any] | None = None,
        parent: int = 0,
        comment_type: str = "text",
        user: str = "Ann Admin",
    ) -> Thread:
        """Open a thread with a comment; the contexts are the place in a file, as REST says it.

        Threads are numbered within the organization. RefusedError if the comment is not accepted.
        """
        check_thread_status(status)
        organization = self.repository.organization
        with self.repository.lock, organization.state.lock:
            number, moment = organization.last_thread_id + 1, self._now()
            made = Thread(
                self,
                number,
                moment,
                moment,
                status,
                properties or {},
                context,
                pull_request_context,
            )
            made.reply(content, user, parent=parent, comment_type=comment_type)
            organization.last_thread_id = number
            self.threads.append(made)
        return made

    # What pushes do

    def refs_moved(self, where: Repository, push: Push) -> None:
        """Follow a push: an iteration for the source branch, another merge for the target."""
        moved = {update.name: update.new for update in push.ref_updates}
        source = moved.get(self.source_ref) if where is self.source else None
        target = moved.get(self.target_ref) if where is self.repository else None
        target = None if target == NO_OBJECT else target
        if source and source != NO_OBJECT and source != self.source_commit:
            base = target or self.target_commit
            self._add_iteration(source, base, self._reason(source), push.pushed_by, push.id)
            verb = "updated the source branch of"
            self._changed(push.pushed_by, verb, kind=_PUSHED)
            self._try_merge(push.pushed_by)
        elif target and target != self.target_commit:
            self.target_commit = target
            self.waits_for_merge = self.repository.merges_lazily
            if self.waits_for_merge:
                self.merge_status = QUEUED
            else:
                self._try_merge(push.pushed_by)

    def looked_at(self) -> None:
        """Try the merge with a target that moved unseen, as the server does once it is asked."""
        with self.repository.lock:
            if self.waits_for_merge and self.is_active:
                self._try_merge(self.created_by)

    # Inner

    def _person(self, name: str) -> Identity:
        return self.repository.organization.identity(name)

    def _reviewer(self, person: Identity) -> Reviewer:
        found = next((one for one in self.reviewers if one.person.id == person.id), None)
        if found is None:
            found = Reviewer(person)
            self.reviewers.append(found)
        return found

    def _tip(self, where: Repository, ref: str) -> str:
        found = where.ref_values().get(ref)
        if found is None:
            raise PullRequestError(
                f"TF401398: The branch {ref} does not exist in {where.name}.",
                "GitPullRequestCannotBeActivatedException",
            )
        return found

    def _target_tip(self) -> str:
        return self._tip(self.repository, self.target_ref)

    def _is_source_unmoved(self) -> bool:
        return self.source.ref_values().get(self.source_ref) == self.source_commit

    def _check_active(self) -> None:
        if not self.is_active:
            raise PullRequestError(
                "TF401181: The pull request cannot be edited due to its state: pull request "
                f"{self.id} is {self.status}.",
                "GitPullRequestNotEditableException",
            )

    def _check_iteration(self, context: Context, number: int | None) -> None:
        if number is None:
            if any(one.context == context and one.reset_on_push for one in self.policies):
                raise PullRequestError(
                    "Pull request status rejected by status policy. Policy configuration requires "
                    "status to be posted on iteration",
                    "GitPullRequestStatusRejectedByPolicyException",
                    403,
                )
        elif number not in [one.id for one in self.iterations]:
            raise self.iteration_missing(str(number))

    def _check_policies(self) -> None:
        for policy in self.policies:
            found = self.deciding_status(policy)
            if found is None or not found.passes:
                where = f" on iteration {self.iterations[-1].id}" if policy.reset_on_push else ""
                state = found.state if found else "missing"
                raise PullRequestError(
                    f"Pull request {self.id} cannot be completed: a branch policy needs the status "
                    f"{policy.context}{where} to be succeeded, and it is {state}.",
                    "GitPullRequestUpdateRejectedByPolicyException",
                    403,
                )

    def _check_alone(self) -> None:
        key = (self.source.id, self.source_ref, self.target_ref)
        if self.source_ref == self.target_ref and not self.is_from_fork:
            raise PullRequestError("The source and the target branch are the same.")
        for one in self.repository.pull_requests:
            other = (one.source.id, one.source_ref, one.target_ref)
            if one is not self and one.is_active and other == key:
                raise PullRequestError(
                    "TF401179: An active pull request for the source and target branch already "
                    "exists.",
                    "GitPullRequestExistsException",
                    409,
                )

    def _check_description(self, text: str) -> None:
        if len(text) > DESCRIPTION_LIMIT:
            raise PullRequestError(
                f"A description cannot be longer than {DESCRIPTION_LIMIT} characters."
            )

    def _add_iteration(
        self,
        source: str,
        target: str,
        reason: str,
        author: Identity,
        push_id: int | None = None,
        old_target_ref: str = "",
    ) -> None:
        git = self.repository.git
        if self.is_from_fork and not git.is_commit(source):
            git.fetch(self.source.git.path, source)
        common = git.merge_base(source, target)
        number = len(self.iterations) + 1
        push_id = push_id or self._source_push()
        commits = tuple(git.new_commits([source], [target])[: COMMIT_LIMIT + 1])
        self.iterations.append(
            Iteration(
                number,
                author,
                self._now(),
                source,
                target,
                common,
                reason,
                push_id,
                commits,
                old_target_ref,
                self.target_ref if old_target_ref else "",
            )
        )
        self.source_commit, self.target_commit = source, target
        self.merge_status, self.merge_commit = QUEUED, None

    def _now(self) -> datetime:
        return self.repository.organization.now()

    def _source_push(self) -> int | None:
        """Return the id of the last push that moved the source branch."""
        names = ((one.id, [each.name for each in one.ref_updates]) for one in self.source.pushes)
        return max((number for number, refs in names if self.source_ref in refs), default=None)

    def _reason(self, source: str) -> str:
        git = self.source.git
        is_next = self.source_commit in git.commit(source).parents
        return "push" if is_next or git.is_ancestor(self.source_commit, source) else "forcePush"

    def _try_merge(self, person: Identity) -> None:
        """Merge source and target aside, as the server does for the preview; notify the hooks."""
        tree = self._merged_tree()
        self.merge_commit, self.waits_for_merge = None, False
        if tree:
            parents = [self.target_commit, self.source_commit]
            text = f"Merge pull request {self.id} from {self.source_ref} into {self.target_ref}"
            self.merge_commit = self._write_merge(tree, parents, text, person)
            self.repository.push_trial_merge(self.id, self.merge_commit)
        self._merge_attempted(person)

    def _merge_attempted(self, person: Identity) -> None:
        if self.merge_commit:
            text = f"{person.name} has created a pull request merge commit"
        else:
            text = f"Pull request {self.id} ({self.title}) in {self.repository.name} has "
            text += "merge conflicts" if self.merge_status == CONFLICTS else "failed to merge"
        self._notify(Change(MERGED, text))

    def _merged_tree(self) -> str | None:
        """Return the tree of the merge, None with the reason in `merge_status`."""
        try:
            tree = self.repository.git.merge_tree(self.target_commit, self.source_commit)
        except GitError:
            self.merge_status = FAILURE
            return None
        self.merge_status = SUCCEEDED if tree else CONFLICTS
        return tree

    def _write_merge(self, tree: str, parents: list[str], text: str, person: Identity) -> str:
        author = f"{person.name} <{person.email}>"
        return self.repository.git.commit_tree(tree, parents, text, author, self._now())

    def _changed(
        self, person: Identity, verb: str, event_type: str = UPDATED, kind: str = ""
    ) -> None:
        text = f"{person.name} {verb} pull request {self.id} ({self.title})"
        self._notify(Change(event_type, f"{text} in {self.repository.name}", kind))

    def _notify(self, change: Change) -> None:
        state = self.repository.organization.state
        state.save()
        state.listener.pull_request_changed(self, change)
