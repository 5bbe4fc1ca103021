"""What commits and pull requests of a module's repository show of it: the result of a check."""

from modules.models import Check, CheckState, Module, Outcome, VersionState
from modules.models.module import parts_of
from stacks.models import PullRequest, Report
from stacks.reports.texts import status_of
from vcs_integrations.providers.base import Status, StatusReport

STATUSES = {
    CheckState.QUEUED: Status.PENDING,
    CheckState.RUNNING: Status.PENDING,
    CheckState.PASSED: Status.SUCCEEDED,
    CheckState.FAILED: Status.FAILED,
}


def report_revision(module: Module, pull_request: PullRequest, revision: int, sha: str) -> None:
    """Have the check of what a pull request proposes shown on a revision of it."""
    about = (module.address, module.status_name, pull_request, revision, sha)
    Report.objects.add_revision_of_module(*about)


def status_for(report: Report) -> StatusReport | None:
    """Return the status to show where a report about a module says; None without a check."""
    checks = Check.objects.filter(sha=report.sha, module__repository=report.repository)
    of_module = checks.filter(**parts_of(report.module, "module__"))
    check = of_module.select_related("module").first()
    if check is None:
        return None
    status = STATUSES[CheckState(check.state)]
    return status_of(report, status, describe(check), check.get_absolute_url())


def describe(check: Check) -> str:
    """Return the result of a check in a sentence or two, without a full stop at the end."""
    name = _name(check)
    if check.state == CheckState.QUEUED:
        return f"{name} waits to be checked"
    if check.state == CheckState.RUNNING:
        return f"{name} is being checked"
    if check.state == CheckState.FAILED:
        failed = next((one for one in check.results if one["outcome"] == Outcome.FAILED), None)
        why = f"{failed['name']}: {failed['sentence']}" if failed else check.failure
        return f"{name} failed its check. {why}".rstrip(".")
    skipped = [one["name"] for one in check.results if one["outcome"] == Outcome.SKIPPED]
    left_out = f", without {', '.join(skipped)}" if skipped else ""
    is_published = check.versions.filter(state=VersionState.PUBLISHED).exists()
    return f"{name} {'is published' if is_published else 'passed its check'}{left_out}"


def _name(check: Check) -> str:
    """Return what the commit is of a module: its versions, or proposed code."""
    numbers = list(check.versions.newest_first().values_list("number", flat=True)[:3])
    return f"{check.module.address} {', '.join(numbers)}".rstrip()
