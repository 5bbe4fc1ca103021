"""A pull request, for the stacks of its target: runs for its commits, or reasons for none.

What an event tells may be late, so the pull request is read as it is now. What was stored of
it before shows what is new; whoever stored it meanwhile makes the reading outdated.
"""

from collections.abc import Sequence
from dataclasses import replace

from stacks import triggers
from stacks.facts import Facts, PullRequestNow
from stacks.models import Decision, PullRequest, Run, Stack
from stacks.runs import Code, cancel_unfinished, enrich, start_proposed
from stacks.states import Kind, State
from stacks.triggers import Rule
from vcs_integrations.events import Iteration, PullRequestChanged, PullRequestFacts
from vcs_integrations.models import Delivery, Repository

# A reconciliation meets these again and again; only a delivery has to be answered with them.
WITHOUT_NEWS = {
    Rule.OTHER_TARGET,
    Rule.BEFORE_STACK,
    Rule.SAME_SOURCE,
    Rule.SAME_COMMIT,
    Rule.CONFLICTS,
}


class Outdated(Exception):
    """Another worker stored the pull request after it was read."""


def take_pull_request(
    repository: Repository,
    stacks: Sequence[Stack],
    event: PullRequestChanged,
    delivery: Delivery | None,
    facts: Facts,
) -> list[Decision]:
    """Decide what a pull request means for the stacks of its repository, and store it.

    Raises NotRead, and Outdated where it has to be read again.
    """
    now = facts.pull_request(event)
    if now is None:
        return []
    row = repository.pull_requests.filter(number=event.number).first()
    if (row.version if row else None) != now.stored_version:
        raise Outdated
    before = _facts(row) if row else None
    last_iteration = row.iteration if row else 0
    row = row or PullRequest(repository=repository, number=event.number)
    _store(row, now)
    *past, newest = now.iterations
    unseen = [iteration for iteration in past if iteration.number > last_iteration]
    is_new = newest.number > last_iteration
    decisions = []
    for stack in stacks:
        for iteration in unseen:
            then = replace(now.facts, target_branch=now.targets[iteration.number])
            decisions += _take_past(stack, row, then, iteration, delivery, facts)
        decisions += _take_newest(stack, row, before, now.facts, newest, is_new, delivery, facts)
    return decisions


def _take_newest(
    stack: Stack,
    row: PullRequest,
    before: PullRequestFacts | None,
    now: PullRequestFacts,
    iteration: Iteration,
    is_new: bool,
    delivery: Delivery | None,
    facts: Facts,
) -> list[Decision]:
    """Decide about the commit that a pull request has now."""
    run = stack.runs.that_count().filter(kind=Kind.PROPOSED, sha=now.source_sha).first()
    decision = triggers.decide_pull_request(
        stack,
        now,
        iteration,
        before=before,
        is_new_iteration=is_new,
        run_of_commit=run.number if run else None,
        read_paths=lambda: facts.paths_of_iteration(
            row.repository.external_id, now.number, iteration
        ),
    )
    recorded: list[Decision] = []
    if decision.starts_run:
        code = _code(row, now, iteration, facts)
        is_reconciled = delivery is None
        run = start_proposed(stack, code, note=decision.note, is_reconciled=is_reconciled)
    elif decision.rule in {Rule.COMPLETED, Rule.ABANDONED}:
        recorded = _take_past(stack, row, now, iteration, delivery, facts, ends_as=State.CANCELED)
        if run:
            enrich(run, pull_request=row, iteration=iteration.number)
        cancel_unfinished(stack, row)
        run = None
    elif decision.rule == Rule.SAME_COMMIT and run:
        enrich(run, pull_request=row, iteration=iteration.number)
    else:
        run = None
    if delivery is None and decision.rule in WITHOUT_NEWS:
        return recorded
    return [*recorded, _record(stack, str(row), decision, run, delivery)]


def _take_past(
    stack: Stack,
    row: PullRequest,
    now: PullRequestFacts,
    iteration: Iteration,
    delivery: Delivery | None,
    facts: Facts,
    *,
    ends_as: State = State.SUPERSEDED,
) -> list[Decision]:
    """Record the run of a commit that nobody saw in time, or tie the one that it has."""
    runs_of_commit = stack.runs.filter(kind=Kind.PROPOSED, sha=iteration.source_sha)
    if now.target_branch == stack.branch:
        for run in runs_of_commit.filter(pull_request=None):
            enrich(run, pull_request=row, iteration=iteration.number)
    decision = triggers.decide_past_iteration(
        stack,
        now,
        iteration,
        has_run=runs_of_commit.exists(),
        read_paths=lambda: facts.paths_of_iteration(
            row.repository.external_id, now.number, iteration
        ),
    )
    if decision is None:
        return []
    code = _code(row, now, iteration, facts)
    is_reconciled = delivery is None
    run = start_proposed(
        stack, code, note=decision.note, is_reconciled=is_reconciled, ends_as=ends_as
    )
    subject = f"{row}, iteration {iteration.number}"
    return [_record(stack, subject, decision, run, delivery)]


def _code(row: PullRequest, now: PullRequestFacts, iteration: Iteration, facts: Facts) -> Code:
    return Code(
        commit=facts.commit(row.repository.external_id, iteration.source_sha),
        branch=now.source_branch,
        # A fork counts its pushes by itself.
        push_id=None if now.is_from_fork else iteration.push_id,
        pull_request=row,
        iteration=iteration.number,
    )


def _record(
    stack: Stack,
    subject: str,
    decision: triggers.Decision,
    run: Run | None,
    delivery: Delivery | None,
) -> Decision:
    return Decision.objects.create(
        stack=stack,
        delivery=delivery,
        subject=subject,
        rule=decision.rule,
        sentence=decision.sentence[:500],
        run=run,
    )


def is_as_stored(row: PullRequest, now: PullRequestFacts) -> bool:
    """Say whether a pull request is as it was when it was last read."""
    return replace(now, created_at=None) == _facts(row)


def _facts(row: PullRequest) -> PullRequestFacts:
    return PullRequestFacts(
        number=row.number,
        title=row.title,
        author=row.author,
        status=row.status,
        is_draft=row.is_draft,
        is_from_fork=row.is_from_fork,
        source_branch=row.source_branch,
        target_branch=row.target_branch,
        source_sha=row.source_sha,
        merge_status=row.merge_status,
    )


def _store(row: PullRequest, now: PullRequestNow) -> None:
    """Store a pull request as it is now."""
    row.title, row.author, row.status = now.facts.title, now.facts.author, now.facts.status
    row.is_draft, row.is_from_fork = now.facts.is_draft, now.facts.is_from_fork
    row.source_branch = now.facts.source_branch
    row.target_branch = now.facts.target_branch
    row.source_sha, row.merge_status = now.facts.source_sha, now.facts.merge_status
    row.iteration = now.iterations[-1].number
    row.version += 1
    row.save()
