"""What the provider shows of an impact: a status of the pull request, and one table as a comment.

Everything is read from the runs as they are now.
"""

from collections.abc import Iterator

from django.conf import settings

from modules.impact.table import Outcome, Row, Table, table_of
from modules.models import Impact
from modules.models.impact import ImpactQuerySet
from modules.models.module import parts_of
from modules.publishing.reporting import status_of_left_out
from stacks.models import Report
from stacks.module_registry import CommentReport
from stacks.reports.texts import escaped, status_of, units
from vcs_integrations.providers.base import Status, StatusReport

HEAD = "| Stack | Add | Change | Destroy | Result |\n| --- | ---: | ---: | ---: | --- |\n"
# Of what a row says, so that one stack with a long error leaves room for the others.
LONGEST_RESULT = 300
FAILED = {Outcome.FAILED}
WITHOUT_RESULT = {Outcome.ENDED_EARLY, Outcome.UNREAD}


def status_for(report: Report) -> StatusReport | None:
    """Return the status of a revision; None if it has no impact any more."""
    if left_out := status_of_left_out(report):
        return left_out
    impact = _impact_of(report)
    if impact is None:
        return None
    path = impact.get_absolute_url()
    if impact.is_superseded:
        return status_of(report, Status.ERROR, "A newer revision was planned instead", path)
    table = table_of(impact)
    return status_of(report, _status(table), table.summary, path)


def comment_for(report: Report) -> CommentReport | None:
    """Return the table of stacks; None before there is a first result.

    A later revision's takes its place in the same comment.
    """
    has_begun = report.thread_id is not None or report.is_uncertain
    if left_out := status_of_left_out(report):
        of_pull_request = Impact.objects.filter(pull_request=report.pull_request_id)
        before = _newest(of_pull_request, report)
        return _heading(before, left_out.description) if before and has_begun else None
    impact = _impact_of(report)
    if impact is None:
        return None
    table = table_of(impact)
    has_result = any(row.run and row.run.has_ended for row in table.rows)
    if impact.is_superseded or not (has_begun or has_result):
        return None
    heading = _heading(impact, table.summary)
    about = f"\nPlanned with commit {impact.sha[:8]}, revision {impact.revision}\n\n"
    room = report.repository.integration.provider.longest_comment
    lines = list(_lines(table, room - units(heading.text + about + HEAD) - 200))
    left = len(table.rows) - len(lines)
    note = f"\n… [{left} more on the page of the impact]({heading.address})\n" if left else ""
    shown = HEAD + "".join(lines) if lines else ""
    return CommentReport(heading.address, f"{heading.text}{about}{shown}{note}")


def _heading(impact: Impact, summary: str) -> CommentReport:
    """Return a comment that is its first line alone."""
    address = f"{settings.PUBLIC_URL}{impact.get_absolute_url()}"
    name = escaped(impact.module.address)
    text = f"**[Impact on the stacks that use {name}]({address})**: {escaped(summary)}\n"
    return CommentReport(address, text)


def _status(table: Table) -> Status:
    if table.count(*FAILED):
        return Status.FAILED
    if not table.is_over:
        return Status.PENDING
    if table.count(*WITHOUT_RESULT):
        return Status.ERROR
    if not any(row.run for row in table.rows):
        return Status.NOT_APPLICABLE
    return Status.SUCCEEDED


def _lines(table: Table, room: int) -> Iterator[str]:
    for row in table.rows:
        line = _line(row)
        room -= units(line)
        if room < 0:
            return
        yield line


def _line(row: Row) -> str:
    where = row.run or row.stack
    name = f"[{escaped(row.stack.name)}]({settings.PUBLIC_URL}{where.get_absolute_url()})"
    counts = ["", "", ""]
    if row.has_counts and row.run:
        counts = [_count(row.run.added), _count(row.run.changed), _count(row.run.destroyed)]
    text = row.text if len(row.text) <= LONGEST_RESULT else f"{row.text[:LONGEST_RESULT]}…"
    shown = escaped(text)
    if row.outcome in {Outcome.DESTROYS, Outcome.FAILED}:
        shown = f"**{shown}**"
    return f"| {name} | {' | '.join(counts)} | {shown} |\n"


def _count(number: int | None) -> str:
    return f"{number or 0:,}"


def _impact_of(report: Report) -> Impact | None:
    """Return the impact that a report is about."""
    found = Impact.objects.filter(sha=report.sha)
    if report.pull_request_id:
        found = found.filter(pull_request=report.pull_request_id, revision=report.revision or 0)
    else:  # of a host whose statuses are those of commits
        found = found.filter(pull_request__repository=report.repository_id)
    return _newest(found, report)


def _newest(impacts: ImpactQuerySet, report: Report) -> Impact | None:
    """Return the newest revision among impacts that is of a report's module."""
    found = impacts.filter(**parts_of(report.module, "module__"))
    return found.select_related("module", "pull_request").order_by("-revision").first()
