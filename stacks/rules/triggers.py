"""What an event means for a stack: a run or none, by which rule, and why.

Everything is decided here and nothing else is done: no database, no provider. Whatever the
order in which events arrive, the same runs must result, so a decision uses what
orders itself: push ids, a pull request as it is now, and the runs that exist.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from stacks.rules import globs
from vcs_integrations.providers.events import (
    PullRequestFacts,
    PullRequestStatus,
    RefChanged,
    Revision,
)


class Rule(StrEnum):
    """The rule by which something was decided; the word is stored, so it never changes."""

    TRACKED = "tracked"
    PROPOSED = "proposed"
    SAME_PUSH = "same_push"
    SAME_COMMIT = "same_commit"
    OUTSIDE_PROJECT_ROOT = "outside_project_root"
    PULL_REQUESTS_ONLY = "pull_requests_only"
    BRANCH_GONE = "branch_gone"
    BRANCH_DELETED = "branch_deleted"
    NO_BRANCH = "no_branch"
    BEFORE_STACK = "before_stack"
    OTHER_TARGET = "other_target"
    FORK = "fork"
    ALLOWED = "allowed"
    DRAFT = "draft"
    SAME_SOURCE = "same_source"
    CONFLICTS = "conflicts"
    MERGED = "merged"
    CLOSED = "closed"
    MODULE = "module"


RULE_TEXTS = {
    Rule.TRACKED: "Tracked branch",
    Rule.PROPOSED: "Proposed code",
    Rule.SAME_PUSH: "Same push",
    Rule.SAME_COMMIT: "Same commit",
    Rule.OUTSIDE_PROJECT_ROOT: "Outside the project root",
    Rule.PULL_REQUESTS_ONLY: "Pull requests only",
    Rule.BRANCH_GONE: "Tracked branch gone",
    Rule.BRANCH_DELETED: "Branch deleted",
    Rule.NO_BRANCH: "No branch",
    Rule.BEFORE_STACK: "Before the stack",
    Rule.OTHER_TARGET: "Other target",
    Rule.FORK: "Fork",
    Rule.ALLOWED: "Allowed once",
    Rule.DRAFT: "Draft",
    Rule.SAME_SOURCE: "No new commit",
    Rule.CONFLICTS: "Conflicts",
    Rule.MERGED: "Merged",
    Rule.CLOSED: "Closed",
    Rule.MODULE: "Module",
}


@dataclass(frozen=True)
class Decision:
    """What an event means for a stack, and a sentence that says why.

    `starts_run` asks for a run; `note` is what that run should say about itself.
    """

    rule: Rule
    sentence: str
    starts_run: bool = False
    note: str = ""


@dataclass(frozen=True)
class ChangedPaths:
    """Every path that changed, both ends of a rename; or why they are not known.

    A path with a slash at its end is a submodule: anything below it may have changed.
    """

    paths: Collection[str]
    unknown_because: str = ""


class Settings(Protocol):
    """What of a stack a decision depends on; `stacks.models.Stack` has it."""

    branch: str
    project_root: str
    path_rule: bool
    extra_globs: list[str]
    runs_drafts: bool
    runs_forks: bool
    pull_requests_only: bool
    followed_at: datetime
    followed_position: int | None
    plans_older: bool | None

    @property
    def files_read(self) -> list[str]: ...


@dataclass(frozen=True)
class Undecided:
    """It depends on which files changed, and they were not read."""


# Whether the stack has decided about this revision, as it follows its branch now.
IsAnswered = Callable[[], bool]
# Whether one more pull request that is older than its stack may be planned now.
HasRoom = Callable[[], bool]


def decide_ref(
    stack: Settings,
    event: RefChanged,
    *,
    run_of_push: int | None,
    run_of_commit: int | None,
    paths: ChangedPaths | None,
) -> Decision | Undecided:
    """Decide what a push means for a stack.

    `run_of_push` is the number of the run that this push has already, `run_of_commit` of the
    proposed run that counts for its commit. `paths` is None where they were not read.
    """
    if not event.branch:
        return Decision(Rule.NO_BRANCH, f"{event.ref} is no branch: stacks run branches only.")
    if _is_before(stack, event):
        return Decision(
            Rule.BEFORE_STACK, f"It was pushed before the stack followed {stack.branch}."
        )
    if event.branch == stack.branch:
        return _decide_tracked(stack, event, run_of_push, paths)
    if event.is_deletion:
        return Decision(
            Rule.BRANCH_DELETED, f"{event.branch} was deleted: there is nothing to run."
        )
    if run_of_push:
        return _same_push(run_of_push)
    if run_of_commit:
        return _same_commit(run_of_commit)
    if stack.pull_requests_only:
        return Decision(
            Rule.PULL_REQUESTS_ONLY,
            f"{event.branch} is not the tracked branch, and the stack runs proposed code of pull "
            f"requests only.",
        )
    return _unless_outside(
        stack, Rule.PROPOSED, f"{event.branch} is not the tracked branch.", paths
    )


def decide_pull_request(
    stack: Settings,
    now: PullRequestFacts,
    revision: Revision,
    *,
    before: PullRequestFacts | None,
    is_new_revision: bool,
    is_answered: IsAnswered,
    run_of_commit: int | None,
    has_room: HasRoom,
    paths: ChangedPaths | None,
) -> Decision | Undecided:
    """Decide what a pull request's newest revision means for a stack.

    `before` is the pull request as it was last read, `is_new_revision` says that it had not
    this revision then, and `run_of_commit` is the number of the proposed run that counts for
    its source commit. `paths` is None where they were not read.
    """
    name = f"Pull request {now.number}"
    if now.target_branch != stack.branch:
        return other_target(stack, now)
    if not now.is_open:
        rule = Rule.MERGED if now.status == PullRequestStatus.MERGED else Rule.CLOSED
        return Decision(rule, f"{name} is {now.status}: its unfinished proposed runs are canceled.")
    if blocked := _blocked(stack, now, paths):
        return blocked
    may_ask = before is not None and _may_ask(before, now)
    if before is not None and not is_new_revision and not may_ask and is_answered():
        return _nothing_new(name, before, now)
    if run_of_commit:
        return _same_commit(run_of_commit)
    if _is_older(revision, stack.followed_at) and not is_answered():
        may_run = may_ask or (stack.plans_older and has_room())
        return _decide_older(stack, name, paths) if may_run else _older_waits(stack, name)
    return _unless_outside(stack, Rule.PROPOSED, f"{name} proposes it.", paths)


def _blocked(
    stack: Settings, now: PullRequestFacts, paths: ChangedPaths | None
) -> Decision | Undecided | None:
    """Return why a pull request has no run until a person does something, None if it may run.

    Where it is known not to concern the stack, that is the reason: nobody has to do anything.
    """
    if now.is_from_fork and not stack.runs_forks:
        rule, because = (
            Rule.FORK,
            "comes from a fork, whose code the stack does not run on its own. A member can allow "
            "this commit.",
        )
    elif now.is_draft and not stack.runs_drafts:
        rule, because = (
            Rule.DRAFT,
            "is a draft, which the stack does not run. It runs once it is published.",
        )
    else:
        return None
    sentence = f"Pull request {now.number} {because}"
    decision = _unless_outside(stack, rule, sentence, paths)
    is_concerned = isinstance(decision, Decision) and decision.starts_run
    return Decision(rule, sentence) if is_concerned else decision


def _decide_older(stack: Settings, name: str, paths: ChangedPaths | None) -> Decision | Undecided:
    """Decide about a pull request that was open before its stack followed the branch."""
    because = f"{name} was open before the stack followed {stack.branch}."
    decision = _unless_outside(stack, Rule.PROPOSED, because, paths)
    if isinstance(decision, Undecided):
        return decision
    return replace(decision, note=f"{because} {decision.note}".strip())


def _older_waits(stack: Settings, name: str) -> Decision:
    """Return why a pull request that is older than its stack is not planned yet."""
    waits = "It waits for its turn to be planned."
    if stack.plans_older is False:
        waits = "A member can plan it on the stack's page."
    return Decision(
        Rule.BEFORE_STACK, f"{name} was open before the stack followed {stack.branch}. {waits}"
    )


def other_target(stack: Settings, now: PullRequestFacts) -> Decision:
    """Return why a pull request is not for a stack that tracks another branch."""
    return Decision(
        Rule.OTHER_TARGET,
        f"Pull request {now.number} targets {now.target_branch}, and the stack tracks "
        f"{stack.branch}.",
    )


def claimed_target(stack: Settings, claimed: PullRequestFacts) -> Decision:
    """Return why a pull request that was not read is not for a stack, as a delivery claims."""
    return Decision(
        Rule.OTHER_TARGET,
        f"According to the delivery, pull request {claimed.number} targets "
        f"{claimed.target_branch}, and the stack tracks {stack.branch}.",
    )


def decided_before() -> Decision:
    """Return why a push that a delivery announces again starts nothing."""
    return Decision(Rule.SAME_PUSH, "This push was decided on before. Replay it to decide again.")


def decide_past_revision(
    stack: Settings,
    now: PullRequestFacts,
    revision: Revision,
    *,
    has_run: bool,
    paths: ChangedPaths | None,
) -> Decision | Undecided | None:
    """Decide about a revision that another one followed before it was read.

    Its run is recorded as superseded, as it would be had its event come in time. None where
    there is nothing to record. `paths` is None where they were not read.
    """
    unwanted = (now.is_from_fork and not stack.runs_forks) or (
        now.is_draft and not stack.runs_drafts
    )
    is_ours = now.target_branch == stack.branch and not unwanted
    if not is_ours or has_run or _is_older(revision, stack.followed_at):
        return None
    decision = _unless_outside(
        stack,
        Rule.PROPOSED,
        f"Pull request {now.number} proposed it until a newer commit came.",
        paths,
    )
    if isinstance(decision, Undecided) or decision.starts_run:
        return decision
    return None


def is_affected(stack: Settings, paths: Collection[str]) -> bool:
    """Say whether a path is the project root, lies under it, or matches the extra globs.

    So does one that the project root lies under: a submodule changes as one path. The same holds
    for each file that the stack's arguments name.
    """
    root = f"{stack.project_root}/" if stack.project_root else ""
    folders = [f"{path.removesuffix('/')}/" for path in paths]
    touches_root = any(one.startswith(root) or root.startswith(one) for one in folders)
    reads = any(f"{file}/".startswith(one) for file in stack.files_read for one in folders)
    return touches_root or reads or globs.concern(stack.extra_globs, paths)


def _decide_tracked(
    stack: Settings, event: RefChanged, run_of_push: int | None, paths: ChangedPaths | None
) -> Decision | Undecided:
    if event.is_deletion:
        return Decision(Rule.BRANCH_GONE, f"The tracked branch {event.branch} was deleted.")
    if run_of_push:
        return _same_push(run_of_push)
    if event.is_creation:
        return Decision(
            Rule.TRACKED, f"The tracked branch {event.branch} was created.", starts_run=True
        )
    return _unless_outside(stack, Rule.TRACKED, f"{event.branch} is the tracked branch.", paths)


def _unless_outside(
    stack: Settings, rule: Rule, because: str, paths: ChangedPaths | None
) -> Decision | Undecided:
    """Ask for a run, unless the path rule is on and no changed file concerns the stack."""
    if not stack.path_rule:
        return Decision(rule, because, starts_run=True)
    if paths is None:
        return Undecided()
    if paths.unknown_because:
        note = f"The changed files are not known, so it runs in any case: {paths.unknown_because}"
        return Decision(rule, f"{because} {note}", starts_run=True, note=note)
    if is_affected(stack, paths.paths):
        return Decision(rule, because, starts_run=True)
    return Decision(Rule.OUTSIDE_PROJECT_ROOT, _outside(stack, len(paths.paths)))


def _outside(stack: Settings, count: int) -> str:
    if not count:
        return "No file changed."
    where = f"under {stack.project_root}" if stack.project_root else "in the repository"
    if count == 1:
        globs = " and matches no extra glob" if stack.extra_globs else ""
        return f"The changed path is not {where}{globs}."
    globs = " or matches an extra glob" if stack.extra_globs else ""
    return f"None of the {count} changed paths is {where}{globs}."


def _nothing_new(name: str, before: PullRequestFacts, now: PullRequestFacts) -> Decision:
    if now.has_conflicts:
        return Decision(Rule.CONFLICTS, f"{name} can't be merged: it has conflicts.")
    if before.trial_merge != now.trial_merge:
        return Decision(Rule.SAME_SOURCE, f"{name} has a new trial merge; its commit is the same.")
    return Decision(
        Rule.SAME_SOURCE,
        f"{name} has the same commit: only votes, reviewers, title, description or its trial "
        f"merge changed.",
    )


def _may_ask(before: PullRequestFacts, now: PullRequestFacts) -> bool:
    """Say whether a change can ask for a run: new code, another target, published, or reopened."""
    return (
        before.source_sha != now.source_sha
        or before.target_branch != now.target_branch
        or not before.is_open
        or (before.is_draft and not now.is_draft)
    )


def _is_before(stack: Settings, event: RefChanged) -> bool:
    if stack.followed_position is not None:
        return event.position <= stack.followed_position
    return event.pushed_at is not None and event.pushed_at < stack.followed_at


def _is_older(revision: Revision, moment: datetime) -> bool:
    return revision.created_at is not None and revision.created_at < moment


def _same_push(number: int) -> Decision:
    return Decision(Rule.SAME_PUSH, f"This push has run {number} already.")


def _same_commit(number: int) -> Decision:
    return Decision(Rule.SAME_COMMIT, f"Run {number} has the same commit.")
