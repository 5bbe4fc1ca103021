"""Send reports to the provider until it accepts them, and nothing twice.

A report is claimed, so that one worker at a time sends it. Before something is posted, the row says
that the outcome is uncertain. If sending is interrupted, the next attempt reads what the provider
holds before it posts.
"""

import logging
import random
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core.backoff import wait_after
from core.leases import LeaseLost
from core.transactions import DATABASE_IS_AWAY
from stacks.models import PullRequest, Report, Run
from stacks.models.report import LEASE, ReportState, What
from stacks.module_registry import CommentReport
from stacks.reports.texts import comment_for, deciding_run, digest_of, status_for
from vcs_integrations.models import Integration
from vcs_integrations.providers.base import (
    CallLimits,
    Client,
    Problem,
    ProviderError,
    RemoteComment,
    Status,
    StatusReport,
)

logger = logging.getLogger(__name__)

# All of it, with the longest pause that is waited for, has to end before the lease does.
SENDING = CallLimits(seconds_per_call=40, seconds_in_all=90, retries=0, obeys_pauses=True)
RETRY_FIRST_AFTER = timedelta(seconds=5)
RETRY_AT_LEAST_EVERY = timedelta(minutes=5)
# After this many, about an hour, what is missing isn't waited for.
WAITING_ATTEMPTS = 17
# Problems that may concern only one report of an organization.
OF_ONE_REPORT = {
    Problem.UNAVAILABLE,
    Problem.NOT_FOUND,
    Problem.PERMISSION_DENIED,
    Problem.REFUSED,
}
HOLD_WHILE_UNREACHABLE = timedelta(seconds=15)
HOLD_UNTIL_FIXED = timedelta(minutes=1)
# What a provider may answer to a post to a closed pull request; which, is not documented.
MAY_MEAN_CLOSED = {Problem.REFUSED, Problem.PERMISSION_DENIED, Problem.NOT_FOUND}


class Refused(Exception):
    """The provider will never accept a report; the text says why."""


def send_next() -> bool:
    """Send the report that has been due longest; False if none is."""
    reports = Report.objects.select_related(
        "stack__repository__integration", "repository__integration", "pull_request"
    )
    report = reports.claim_one(LEASE)
    if report is None:
        return False
    try:
        send(report)
    except Refused as refusal:
        _refuse(report, str(refusal))
    except ProviderError as error:
        _put_off(report, error)
    except LeaseLost:
        logger.warning("%s is sent by another worker", report)
    except DATABASE_IS_AWAY:  # claimed again once the database recovers
        raise
    except Exception:  # a fault of ours must not hold up the other reports
        logger.exception("%s could not be reported", report)
        _try_later(report, "A fault of Stackhook's own, which its log describes")
    return True


def send(report: Report) -> None:
    """Send a report's status or comment, unless the provider has it.

    Raises Refused, or ProviderError if it may succeed later.
    """
    content = comment_for(report) if report.what == What.COMMENT else status_for(report)
    if content and _differs(report, content):
        if report.pull_request and not report.pull_request.is_open:
            raise Refused(f"{report.pull_request} is {report.pull_request.status}.")
        client = report.repository.integration.client(SENDING)
        try:
            _post(report, content, client)
        except ProviderError as error:
            raise _as_refusal(report, error, client) or error from None
        report.sent = digest_of(content)
        report.is_pending = isinstance(content, StatusReport) and content.status == Status.PENDING
    _settle(report)


def _differs(report: Report, content: StatusReport | CommentReport) -> bool:
    """Say whether this differs from what was sent last."""
    if digest_of(content) == report.sent and not report.is_overtaken:
        return False
    is_part = report.what != What.COMMENT and report.is_of_one_stack
    # A status that was sent alone, before the integration was changed, is also brought to its end.
    return not (
        is_part and report.repository.integration.reports_all_stacks_at_once and not report.sent
    )


def _post(report: Report, content: StatusReport | CommentReport, client: Client) -> None:
    if isinstance(content, CommentReport):
        if report.pull_request:
            _comment(report, report.pull_request, content, client)
    elif report.pull_request:
        _post_to_pull_request(report, report.pull_request, content, client)
    else:
        _post_to_commit(report, content, client)


def _post_to_commit(report: Report, status: StatusReport, client: Client) -> None:
    where = (report.repository.external_id, report.sha)
    if not (report.is_uncertain and status in client.commit_statuses(*where)):
        _note_uncertain(report)
        client.create_commit_status(*where, status)


def _post_to_pull_request(
    report: Report, one: PullRequest, status: StatusReport, client: Client
) -> None:
    where, revision = (report.repository.external_id, one.number), report.revision or 1
    posted = client.pull_request_statuses(*where) if report.is_uncertain else []
    comparable = (
        other
        for other in reversed(posted)
        if (other.report.genre, other.report.name) == (status.genre, status.name)
        and (other.revision or 0) <= revision
    )
    last = next(comparable, None)
    if last is None or last.report != status or last.revision not in {None, revision}:
        _note_uncertain(report)
        client.create_pull_request_status(*where, revision, status)
    Report.objects.renew_overtaken(report)


def _comment(report: Report, one: PullRequest, content: CommentReport, client: Client) -> None:
    """Edit the comment of a stack, or post one where there is none that can be edited."""
    where = (report.repository.external_id, one.number)
    # Unlike a status, a comment may be accepted on a closed pull request.
    now = client.pull_request(*where)
    if not now.is_open:
        raise Refused(f"{one} is {now.status}.")
    known = report.thread_id
    found = _newest_of_ours(client.first_comments(*where), content) if report.is_uncertain else None
    if found:
        report.thread_id, report.comment_id = found.thread_id, found.comment_id
    if _edit(report, one, content, client):
        replaces = known not in {None, report.thread_id}  # posted by a worker that was killed
    else:
        replaces = report.thread_id is not None
        _note_uncertain(report)
        made = client.create_thread(*where, content.text)
        report.thread_id, report.comment_id = made.thread_id, made.comment_id
    if replaces:
        _note_replacement(report, one)
    if report.thread_id != known:
        report.commented_at = timezone.now()


def _edit(report: Report, one: PullRequest, content: CommentReport, client: Client) -> bool:
    """Edit the comment; False if there is none that can be edited. A deleted one is forgotten.

    Raises ProviderError if it may succeed later.
    """
    if report.thread_id is None or report.comment_id is None:
        return False
    comment = (report.repository.external_id, one.number, report.thread_id, report.comment_id)
    try:
        client.edit_comment(*comment, content.text)
    except ProviderError as error:
        if error.problem == Problem.NOT_FOUND:
            report.thread_id = report.comment_id = report.commented_at = None
            nothing = {"thread_id": None, "comment_id": None, "commented_at": None}
            Report.objects.filter(pk=report.pk).update(**nothing)
        elif error.problem not in {Problem.NOT_THE_AUTHOR, Problem.REFUSED}:
            raise
        return False
    return True


def _newest_of_ours(
    comments: Iterable[RemoteComment], content: CommentReport
) -> RemoteComment | None:
    """Return the comment of a stack that was posted last; ids of threads ascend."""
    begin = f"]({content.address})**"
    ours = [one for one in comments if begin in one.content.partition("\n")[0]]
    return max(ours, key=lambda one: one.thread_id, default=None)


def _note_replacement(report: Report, one: PullRequest) -> None:
    """Have the runs which the old comment was about say once why that is out of date."""
    when = f" of {report.commented_at:%Y-%m-%d}" if report.commented_at else ""
    note = (
        f"The comment{when} on {one} could not be edited, so a new one was posted. Only the "
        "account that wrote a comment can edit it."
    )
    shown = _runs_of_module(report, one) if report.module else _run_of_stack(report, one)
    for run in shown:
        if note not in run.note:
            Run.objects.filter(pk=run.pk).update(note=f"{run.note} {note}".strip()[:500])


def _run_of_stack(report: Report, one: PullRequest) -> list[Run]:
    """Return the run before the one that a stack's comment is about, that one where it is first."""
    runs = Run.objects.filter(stack=report.stack, sources__pull_request=one)
    current = deciding_run(report)
    before = runs.filter(number__lt=current.number).first() if current else runs.first()
    return [run for run in [before or current] if run]


def _runs_of_module(report: Report, one: PullRequest) -> list[Run]:
    """Return the runs of the commit before the one that a module's table is about, if any.

    Else those of its own commit.
    """
    about = Q(
        proposed_module__pull_request=one, proposed_module__address__endswith=f"/{report.module}"
    )
    runs = Run.objects.filter(about).select_related("proposed_module").order_by("-pk")
    before = runs.exclude(proposed_module__sha=report.sha).first()
    sha = before.proposed_module.sha if before else report.sha
    return list(runs.filter(proposed_module__sha=sha))


def _note_uncertain(report: Report) -> None:
    """Store that something is being posted, and may arrive even if the answer is lost.

    Raises LeaseLost, so that of two workers only one posts.
    """
    if not report.held().update(is_uncertain=True):
        raise LeaseLost


def _as_refusal(report: Report, error: ProviderError, client: Client) -> Refused | None:
    """Return the refusal that a failure is, None if the same may succeed later."""
    if error.problem not in MAY_MEAN_CLOSED:
        return None
    if report.pull_request:
        now = client.pull_request(report.repository.external_id, report.pull_request.number)
        if not now.is_open:
            return Refused(f"{report.pull_request} is {now.status}.")
    return Refused(str(error)) if error.problem == Problem.REFUSED else None


def _settle(report: Report) -> None:
    """Store that the provider has it; if something changed since it was claimed, it stays due."""
    with transaction.atomic():
        is_ours = report.release(
            report.due_at,
            problem="",
            is_uncertain=False,
            sent=report.sent,
            is_pending=report.is_pending,
            thread_id=report.thread_id,
            comment_id=report.comment_id,
            commented_at=report.commented_at,
        )
        if is_ours:
            _end(report, state=ReportState.SENT, is_overtaken=False)


def _refuse(report: Report, because: str) -> None:
    """Store that the provider won't accept it, unless something changed since it was claimed."""
    with transaction.atomic():
        now = timezone.now()
        if report.release(report.due_at, problem=because[:500], failed_at=now):
            _end(report, state=ReportState.REFUSED)


def _end(report: Report, **fields: Any) -> None:
    """Mark it as no longer due, unless something changed since it was claimed."""
    Report.objects.filter(pk=report.pk, version=report.version).update(**fields)


def _put_off(report: Report, error: ProviderError) -> None:
    """Store why a report could not be sent yet, and when to retry, if that makes sense."""
    if error.problem in {Problem.NOT_FOUND, Problem.REFUSED} and report.failures > WAITING_ATTEMPTS:
        _refuse(report, str(error))
        return
    integration = Integration.objects.filter(pk=report.repository.integration_id)
    if not error.is_transient and error.problem not in OF_ONE_REPORT:
        integration.update(due_at=timezone.now())  # only a refresh, or a person, can help
    if hold := _hold(error):
        until = timezone.now() + hold
        free = Q(reports_held_until=None) | Q(reports_held_until__lt=until)
        integration.filter(free).update(reports_held_until=until)
    _try_later(report, error.cause)


def _hold(error: ProviderError) -> timedelta | None:
    """Return for how long no other report of the organization need be tried."""
    if error.retry_after:
        return timedelta(seconds=error.retry_after)
    if error.problem in OF_ONE_REPORT:
        return None
    return HOLD_WHILE_UNREACHABLE if error.is_transient else HOLD_UNTIL_FIXED


def _try_later(report: Report, because: str) -> None:
    """Have a report sent later: soon, then less and less often, not all at the same moment."""
    longest = wait_after(report.failures, RETRY_FIRST_AFTER, RETRY_AT_LEAST_EVERY)
    wait = longest * random.uniform(0.5, 1)  # noqa: S311
    now = timezone.now()
    report.release(now + wait, failures=report.failures + 1, problem=because[:500], failed_at=now)
