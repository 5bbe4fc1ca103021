"""What the provider shows of runs: statuses and comments, in plain words.

Everything is read from the runs as they are now; `stacks.reports.sending` posts it. The rows that
say where something is shown are `stacks.models.Report`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain

from django.conf import settings
from django.urls import reverse

from stacks.lifecycle.basis import describe_basis, moved_since
from stacks.lifecycle.planning_again import may_be_planned_again
from stacks.models import PullRequest, Report, Run, Stack
from stacks.models.report import GENRE, What
from stacks.module_registry import CommentReport, module_registry
from stacks.reports.plan_text import lines_below
from stacks.rules.changes import count_destroying
from stacks.rules.states import DOES_NOT_COUNT, Kind, State
from stacks.rules.triggers import Rule
from vcs_integrations.providers.base import Status, StatusReport
from vcs_integrations.providers.events import Revision

# No limit is documented; longer ones would be cut on most pages in any case.
LONGEST_DESCRIPTION = 250
LONGEST_HEADLINE = 200
SPECIAL_IN_MARKDOWN = re.compile(r"([\\`*_\[\]<>#@!|~])")

STATUSES = {
    State.QUEUED: Status.PENDING,
    State.PREPARING: Status.PENDING,
    State.PLANNING: Status.PENDING,
    State.UNCONFIRMED: Status.PENDING,
    State.CONFIRMED: Status.PENDING,
    State.APPLYING: Status.PENDING,
    State.FINISHED: Status.SUCCEEDED,
    State.FAILED: Status.FAILED,
    State.DISCARDED: Status.FAILED,
}
SENTENCES = {
    State.QUEUED: "Run {} waits for its turn",
    State.PREPARING: "Run {} is planning",
    State.PLANNING: "Run {} is planning",
    State.UNCONFIRMED: "Run {} waits for confirmation",
    State.CONFIRMED: "Run {} is confirmed and will be applied",
    State.APPLYING: "Run {} is being applied",
    State.FAILED: "Run {} failed",
    State.DISCARDED: "Run {} was discarded: its changes were not applied",
    State.CANCELED: "Run {} was canceled",
    State.SUPERSEDED: "Run {} was superseded by newer code",
}
DESTROYS_EVERYTHING = "This plan destroys every resource in the state."
ACTION_MARKS = {
    "add": " +",
    "change": " ~",
    "destroy": " -",
    "replace": "-+",
    "import": " =",
    "move": " >",
    "forget": " .",
}
# What the signs do not say.
ACTION_NOTES = {
    "import": "import",
    "move": "move",
    "forget": "forget: no longer managed, but not destroyed",
}
ALSO_NOTES = {
    "import": "import",
    "forget": "forget the old one: no longer managed, but not destroyed",
}
MOST_IN_COMMENT = 1000  # lines of a plan
# The first that any stack has is the status of all; the text says how many stacks have each.
WORST_FIRST = {
    Status.FAILED: "failed",
    Status.ERROR: "without a result",
    Status.PENDING: "not done yet",
    Status.SUCCEEDED: "succeeded",
    Status.NOT_APPLICABLE: "not concerned",
}


# By these rules an open pull request has no run until a person does something. A policy must not
# pass it, so it is an error: `failed` would say that something ran.
BLOCKED = {
    Rule.FORK: "Code of forks does not run on its own. A member can allow this commit.",
    Rule.DRAFT: "The stack does not run drafts. Publish the pull request to have it planned.",
}


@dataclass(frozen=True)
class Doubts:
    """Why a plan is not what merging would do: sentences without their end.

    `status` takes the place of the run's own, where the plan is no success because of them.
    """

    sentences: tuple[str, ...] = ()
    status: Status | None = None


def plan_of(run: Run) -> str:
    """Return a run's plan, a line for each resource and output; empty if it has none.

    Values of outputs are left out: not everyone who may read a pull request may read them.
    """
    lines = [_resource_line(one) for one in _listed(run, "resources")]
    lines += [f"{_mark(one)} output {one.get('name', '')}" for one in _listed(run, "outputs")]
    return "\n".join(lines)


def report_revision(
    stack: Stack, pull_request: PullRequest, revision: Revision, rule: Rule
) -> None:
    """Have it reported where a decision about a pull request's newest commit starts no run.

    Another run may have the commit already, and a branch policy must neither wait for a stack
    that is not concerned, nor block without an explanation.
    """
    has_to_wait = rule == Rule.BEFORE_STACK and stack.plans_older is not None
    if has_to_wait or rule in {Rule.SAME_COMMIT, Rule.OUTSIDE_PROJECT_ROOT, *BLOCKED}:
        Report.objects.add_revision(
            stack,
            pull_request,
            revision.number,
            revision.source_sha,
            is_ignored=rule == Rule.OUTSIDE_PROJECT_ROOT,
            blocked_by=rule if has_to_wait or rule in BLOCKED else "",
        )


def status_for(report: Report) -> StatusReport | None:
    """Return the status to show where a report says; None if there is nothing to report."""
    if report.module:
        status, what = module_registry().status_for(report), "module"
    else:
        status = _status_of_all(report) if report.is_for_all_stacks else _status_of_one(report)
        what = "stack"
    if status is None and report.is_pending:
        return _without_result(report, f"The {what} was deleted", "/")
    return status


def comment_for(report: Report) -> CommentReport | None:
    """Return the comment of a stack on a pull request; None if there is nothing to report.

    A first result begins a comment, which then shows the results of later revisions.
    """
    if report.module:
        return module_registry().comment_for(report)
    stack = report.stack
    if stack is None:
        return None
    run = deciding_run(report)
    has_begun = report.thread_id is not None or report.is_uncertain
    if run and (has_begun or run.state in {State.FINISHED, State.FAILED}):
        summary, more = describe(run), _details(report, run)
    elif (without_run := _without_run(report, stack)) and has_begun:
        summary, more = without_run.description, ""
    else:
        return None
    address = f"{settings.PUBLIC_URL}{stack.get_absolute_url()}"
    begin = f"**[{escaped(stack.name)}]({address})**: {escaped(summary)}\n"
    room = stack.integration.provider.longest_comment - units(begin + more)
    result = ""
    if run and run.state == State.FINISHED:
        result = _folded_plan(run, room)
    elif run and run.state == State.FAILED:
        result = _errors(run, room)
    return CommentReport(address, f"{begin}{more}{result}")


def deciding_run(report: Report) -> Run | None:
    """Return the run whose result counts for a stack and a commit, or else the last one there was.

    For a pull request that is one of proposed code. What was triggered besides doesn't count: it
    may plan a part, or destroy, and a branch policy would take that for the code's own plan.
    """
    runs = Run.objects.filter(stack=report.stack, repository=report.repository, sha=report.sha)
    runs = runs.of_code()
    if report.what != What.COMMIT_STATUS:
        runs = runs.filter(kind=Kind.PROPOSED)
    newest = runs.select_related("stack").order_by("-number")
    found = newest.that_count().first() or newest.first()
    if found and found.state in DOES_NOT_COUNT and (report.is_ignored or report.blocked_by):
        return None
    return found


def describe(run: Run) -> str:
    """Return the result of a run in a few words, with warnings about its plan."""
    return _describe_with(doubts_about(run), run)


def _describe_with(doubts: Doubts, run: Run) -> str:
    parts = [*doubts.sentences, _describe(run)]
    is_planned = run.state == State.UNCONFIRMED or run.kind == Kind.PROPOSED
    if run.destroys_everything and is_planned:
        parts.append(DESTROYS_EVERYTHING.rstrip("."))
    if run.kind == Kind.PROPOSED and run.behind_warning:
        parts.append(run.behind_warning.rstrip("."))
    return ". ".join(parts) + ("." if len(parts) > 1 else "")


def doubts_about(run: Run) -> Doubts:
    """Return why a pull request's plan is not what merging would do, if it is not."""
    is_planned = (run.kind, run.state) == (Kind.PROPOSED, State.FINISHED)
    proposals = run.proposals if is_planned else []
    source = next((one.pull_request for one in proposals if one.is_open_proposal), None)
    if source is None:
        return Doubts()
    branch = run.stack.branch
    if run.conflicts or source.has_conflicts:
        sentence = f"It conflicts with {branch}: resolve the conflicts to have the merge planned"
        return Doubts((sentence,), Status.FAILED)
    because = moved_since(run)
    if not because:
        return Doubts()
    outdated = f"Out of date, as {because}"
    if basis := describe_basis(run):
        outdated += f" (planned for {basis})"
    if not run.stack.plans_again:
        return Doubts((outdated,))
    will_be = may_be_planned_again(run, source)
    next_step = "It will be planned again" if will_be else "Retry it to plan it again"
    return Doubts((outdated, next_step), Status.PENDING)


def _describe(run: Run) -> str:
    if run.state == State.FINISHED:
        return _describe_finished(run)
    sentence = SENTENCES[State(run.state)].format(run.number)
    if run.state == State.FAILED and run.failure:
        return f"{sentence}: {headline_of(run) or run.failure}"
    if run.state == State.UNCONFIRMED and run.changes:
        return f"{sentence}: {run.counts}"
    return sentence


def digest_of(content: StatusReport | CommentReport) -> str:
    """Return a digest of a status or a comment, to compare it by."""
    return sha256(repr(content).encode()).hexdigest()


def _describe_finished(run: Run) -> str:
    if run.changes is None:
        return f"Run {run.number} finished"
    if not run.changes:
        return f"Run {run.number} found no changes"
    what = "planned" if run.kind == Kind.PROPOSED else "applied"
    return f"Run {run.number} {what}: {run.counts}"


def headline_of(run: Run) -> str:
    """Return what Terraform's first error says in its first lines; empty if it printed none."""
    begin, _, text = run.errors.partition("\n\n")[0].partition("Error: ")
    return "" if begin else " ".join(text.split())[:LONGEST_HEADLINE]


def _errors(run: Run, room: int) -> str:
    """Return the errors of a run as a block, as many of its lines as there is room for."""
    if not run.errors:
        return ""
    fence = _fence(run.errors)
    begin, end = f"\n{fence}text\n", f"\n{fence}\n"
    kept = _whole_lines(run.errors.split("\n"), room - units(begin + end))
    return begin + "\n".join(kept) + end


def _listed(run: Run, kind: str) -> list[dict[str, str]]:
    """Return what a plan lists of a kind, each with its action."""
    found: list[dict[str, str]] = (run.plan or {}).get(kind, [])
    return found


def _resource_line(one: dict[str, str]) -> str:
    """Return a line about a resource, like " > a.old → a.new (move)"."""
    address = one.get("address", "")
    if before := one.get("moved_from"):
        address = f"{before} → {address}"
    notes = [ACTION_NOTES.get(one.get("action", ""), ""), ALSO_NOTES.get(one.get("also", ""), "")]
    if before and one.get("action") != "move":
        notes.append("move")
    text = "; ".join(filter(None, notes))
    return f"{_mark(one)} {address}" + (f" ({text})" if text else "")


def _mark(listed: dict[str, str]) -> str:
    """Return the sign that Terraform shows for an action."""
    return ACTION_MARKS.get(listed.get("action", ""), "  ")


def _ignored(stack: Stack) -> str:
    where = f"under {stack.project_root}" if stack.project_root else "in the repository"
    return f"No changed file is {where}: there is nothing to run"


def status_of(report: Report, status: Status, description: str, path: str) -> StatusReport:
    """Return a status as it is posted, cut where it is too long."""
    line = " ".join(description.split())
    if len(line) > LONGEST_DESCRIPTION:
        line = f"{line[: LONGEST_DESCRIPTION - 1]}…"
    return StatusReport(GENRE, report.name, status, line, f"{settings.PUBLIC_URL}{path}")


def _without_result(report: Report, description: str, path: str) -> StatusReport:
    """Return the status for a run that was canceled or superseded.

    A branch policy accepts what does not apply, so a pull request does not get that.
    """
    has_own = report.repository.integration.provider.has_pull_request_statuses
    is_for_none = report.what == What.COMMIT_STATUS and has_own
    status = Status.NOT_APPLICABLE if is_for_none else Status.ERROR
    return status_of(report, status, description, path)


def _status_of_one(report: Report) -> StatusReport | None:
    if report.stack is None:
        return None
    run = deciding_run(report)
    if run and run.state in DOES_NOT_COUNT:
        return _without_result(report, describe(run), run.get_absolute_url())
    if run:
        doubts = doubts_about(run)
        status = doubts.status or STATUSES[State(run.state)]
        return status_of(report, status, _describe_with(doubts, run), run.get_absolute_url())
    return _without_run(report, report.stack)


def _without_run(report: Report, stack: Stack) -> StatusReport | None:
    """Return the status of a pull request's commit that has no run, None if there is none."""
    activity = reverse("stacks:activity", args=[stack.slug])
    if report.is_ignored:
        return status_of(report, Status.NOT_APPLICABLE, _ignored(stack), activity)
    if report.blocked_by == Rule.BEFORE_STACK and report.decided_at < stack.followed_at:
        moved = "The stack has followed another branch since then"
        return _without_result(report, moved, stack.get_absolute_url()) if report.sent else None
    if report.blocked_by == Rule.BEFORE_STACK:
        return status_of(report, Status.PENDING, _waits(stack), stack.get_absolute_url())
    if report.blocked_by == Rule.FORK:
        page = reverse("stacks:allow_fork", args=[stack.slug, report.sha])
        return status_of(report, Status.ERROR, BLOCKED[Rule.FORK], page)
    if report.blocked_by == Rule.DRAFT:
        return status_of(report, Status.ERROR, BLOCKED[Rule.DRAFT], activity)
    return None


def _waits(stack: Stack) -> str:
    """Say what a pull request that is older than its stack waits for."""
    if stack.plans_older:
        return "Not planned yet: it is older than the stack, and waits for its turn"
    return "Not planned yet: it is older than the stack. A member can plan it on the stack's page."


def _status_of_all(report: Report) -> StatusReport | None:
    """Return one status for all stacks that have something to report there."""
    parts = Report.objects.filter(what=report.what).exclude(stack=None)
    if report.what == What.COMMIT_STATUS:
        parts = parts.filter(repository=report.repository, sha=report.sha)
    else:
        parts = parts.filter(pull_request=report.pull_request, revision=report.revision)
    found = [
        (part, status)
        for part in parts.select_related("stack", "repository").order_by("name")
        if part.stack and (status := status_for(part))
    ]
    if not found:
        return None
    words = list(WORST_FIRST)
    part, worst = min(
        found,
        key=lambda one: (words.index(one[1].status or Status.ERROR), not _destroys(one[1])),
    )
    text = f"{part.stack}: {worst.description}"
    if len(found) > 1:
        # A count doesn't say what a person has to know or do.
        is_blocked = part.blocked_by and worst.status == Status.ERROR
        counted = _counted([status for _, status in found])
        warning = _destroying([one for one, status in found if _destroys(status)])
        text = ". ".join(filter(None, [counted, warning, text if is_blocked else ""]))
    path = worst.url.removeprefix(settings.PUBLIC_URL)
    return status_of(report, worst.status or Status.ERROR, text, path)


def _destroys(status: StatusReport) -> bool:
    return DESTROYS_EVERYTHING in status.description


def _destroying(parts: Sequence[Report]) -> str:
    """Return of which stacks a plan destroys everything; empty if there is none."""
    names = ", ".join(str(part.stack) for part in parts)
    return f"Plans that destroy every resource in the state: {names}" if parts else ""


def _counted(statuses: Sequence[StatusReport]) -> str:
    counts = Counter(one.status for one in statuses)
    counted = ", ".join(f"{counts[one]} {text}" for one, text in WORST_FIRST.items() if counts[one])
    return f"{len(statuses)} stacks: {counted}"


def _details(report: Report, run: Run) -> str:
    link = f"[Run {run.number}]({settings.PUBLIC_URL}{run.get_absolute_url()})"
    return f"\n{link} of commit {run.sha[:8]}, revision {report.revision}\n"


def _folded_plan(run: Run, room: int) -> str:
    """Return a plan that opens with a click, as many of its lines as there is room for.

    What is left out is counted below. A plan begins with what it destroys, and every resource has
    its line before any has those of its attributes.
    """
    plan = plan_of(run)
    if not plan.strip():
        return ""
    lines = plan.split("\n")
    below = dict(lines_below(run, min(len(_listed(run, "resources")), MOST_IN_COMMENT)))
    fence = _fence("\n".join([plan, *chain.from_iterable(below.values())]))
    begin = f"\n<details>\n<summary>Plan</summary>\n\n{fence}text\n"
    end = f"\n{fence}\n\n</details>\n"
    room -= units(begin + end) + units(_note_of_rest(run, lines, 0))
    kept = _whole_lines(lines[:MOST_IN_COMMENT], room)
    shown = _with_lines_below(kept, below, room - sum(units(line) + 1 for line in kept))
    return begin + "\n".join(shown) + end + _note_of_rest(run, lines, len(kept))


def _with_lines_below(
    lines: Sequence[str], below: dict[int, list[str]], room: int
) -> Iterator[str]:
    """Yield lines, each with all that belongs below it, as long as there is room for that."""
    left = MOST_IN_COMMENT
    for place, line in enumerate(lines):
        yield line
        more = below.get(place, [])
        room -= sum(units(one) + 1 for one in more)
        left -= len(more)
        if min(room, left) < 0:
            yield from lines[place + 1 :]
            return
        yield from more


def _note_of_rest(run: Run, lines: Sequence[str], shown: int) -> str:
    """Return how much of a plan a comment leaves out, with a link; empty if that is nothing."""
    rest = len(lines) + (run.plan or {}).get("left_out", 0) - shown
    if not rest:
        return ""
    note = f"[{rest} more on the run's page]({settings.PUBLIC_URL}{run.get_absolute_url()})"
    destroying = (run.destroyed or 0) - count_destroying(_listed(run, "resources")[:shown])
    if destroying > 0:
        note += f", {destroying} of them to destroy or replace"
    return f"\n… {note}\n"


def _fence(text: str) -> str:
    """Return what begins and ends a block of code in Markdown, which the text itself can't end."""
    return "`" * max(3, 1 + max((len(found) for found in re.findall("`+", text)), default=0))


def _whole_lines(lines: Sequence[str], room: int) -> list[str]:
    """Return as many of the first lines as fit."""
    kept = []
    for line in lines:
        room -= units(line) + 1
        if room < 0:
            break
        kept.append(line)
    return kept


def units(text: str) -> int:
    """Return a text's length in UTF-16 code units, in which .NET counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def escaped(text: str) -> str:
    """Return a text of one line that Markdown shows as it is."""
    return SPECIAL_IN_MARKDOWN.sub(r"\\\1", " ".join(text.split()))
