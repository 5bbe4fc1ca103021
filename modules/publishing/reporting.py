"""What commits and pull requests of a module's repository show of it: the result of a check."""

from django.urls import reverse

from modules.models import Check, CheckState, Module, Outcome, VersionState
from modules.models.module import parts_of
from modules.rules.decisions import Rule
from stacks.models import PullRequest, Report
from stacks.models.report import What, Without
from stacks.reports.texts import status_of
from vcs_integrations.providers.base import Status, StatusReport

STATUSES = {
    CheckState.QUEUED: Status.PENDING,
    CheckState.RUNNING: Status.PENDING,
    CheckState.PASSED: Status.SUCCEEDED,
    CheckState.FAILED: Status.FAILED,
}
OF_FORK = (
    "Code of forks is not checked: anybody may have written it. Push it to a branch of the "
    "repository itself."
)


def report_revision(
    module: Module, pull_request: PullRequest, revision: int, sha: str, rule: Rule | None = None
) -> None:
    """Have the check of what a pull request proposes shown on a revision of it.

    With a rule of LEFT_OUT there is none, and the status says so.
    """
    about = (module.address, module.status_name, pull_request, revision, sha)
    Report.objects.add_revision_of_module(*about, **without_by(rule))


def without_by(rule: Rule | None) -> Without:
    """Return how a report says by which rule it has no result."""
    if rule is None or rule == Rule.UNTOUCHED:
        return {"is_ignored": rule is not None, "blocked_by": ""}
    return {"is_ignored": False, "blocked_by": rule}


def status_for(report: Report) -> StatusReport | None:
    """Return the status to show where a report about a module says; None without a check.

    On a host whose statuses are those of commits, a tag's check counts more than that a pull
    request is not checked.
    """
    left_out = status_of_left_out(report)
    if left_out and report.what == What.PULL_REQUEST_STATUS:
        return left_out
    checks = Check.objects.filter(sha=report.sha, module__repository=report.repository)
    of_module = checks.filter(**parts_of(report.module, "module__"))
    check = of_module.select_related("module").first()
    if check is None:
        return left_out
    status = STATUSES[CheckState(check.state)]
    return status_of(report, status, describe(check), check.get_absolute_url())


def status_of_left_out(report: Report) -> StatusReport | None:
    """Return the status of a revision that is neither checked nor planned; None of any other.

    As with stacks, a policy passes what does not apply, and not what nobody looked at.
    """
    if not (report.is_ignored or report.blocked_by):
        return None
    module = Module.objects.filter(**parts_of(report.module)).first()
    if module is None:
        return None
    page = reverse("modules:activity", args=[module.namespace, module.name, module.system])
    if report.is_ignored:
        text = f"It changes nothing in {module.folder}: there is nothing to check"
        return status_of(report, Status.NOT_APPLICABLE, text, page)
    return status_of(report, Status.ERROR, OF_FORK, page)


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
