"""What stacks ask of modules: a `stacks.module_registry.ModuleRegistry`."""

from django.db.models import Count, Exists, Window
from django.utils import timezone

from modules.deciding import following
from modules.impact import planning, reports
from modules.impact.behind import modules_behind
from modules.impact.naming import is_of_impact
from modules.models import Check, Module, ModuleDecision
from modules.publishing import reporting
from modules.rules.decisions import Rule
from stacks.models import PullRequest, Report, Stack
from stacks.module_registry import CommentReport, Following
from vcs_integrations.consumer import Part
from vcs_integrations.models import Delivery, Integration
from vcs_integrations.providers.base import StatusReport

DECISIONS_SHOWN = 100
MODULES_SHOWN = 20


def follow(integration: Integration, repository_id: str) -> Following | None:
    listeners = following.Listeners(_on_proposed, _on_left_out, planning.end)
    return following.follow(integration, repository_id, listeners)


def _on_proposed(module: Module, pull_request: PullRequest, revision: int, sha: str) -> None:
    """Have shown on a revision what its check says, and what it changes in stacks."""
    reporting.report_revision(module, pull_request, revision, sha)
    planning.want(module, pull_request, revision, sha)


def _on_left_out(
    module: Module, pull_request: PullRequest, revision: int, sha: str, rule: Rule
) -> None:
    """Have shown on a revision why it is neither checked nor planned."""
    reporting.report_revision(module, pull_request, revision, sha, rule)
    planning.leave_out(module, pull_request, revision, sha, rule)


def decisions_on(delivery: Delivery) -> Part | None:
    """Return, for each module, a version or the reason for none; None where nothing was decided."""
    ours = ModuleDecision.objects.filter(delivery=delivery).for_pages().order_by("pk")
    found = list(ours[: DECISIONS_SHOWN + 1])
    if not found:
        return None
    context = {"decisions": found[:DECISIONS_SHOWN], "has_more": len(found) > DECISIONS_SHOWN}
    return Part("modules/deciding/decisions_on_delivery.html", context)


def dependents_of(integration: Integration) -> Part:
    """Return the modules that unlinking an integration would detach."""
    counted = Module.objects.of(integration).annotate(count=Window(Count("pk")))
    first = list(counted[:MODULES_SHOWN])
    context = {"count": vars(first[0])["count"] if first else 0, "first": first}
    return Part("modules/deciding/dependents.html", context)


def part_of_stack(stack: Stack) -> Part | None:
    """Return of which modules a stack uses an older version; None where that is none."""
    behind = modules_behind(stack)
    return Part("modules/impact/behind_of_stack.html", {"behind": behind}) if behind else None


def is_checking() -> Exists:
    """Return, for a query, whether a run worker checks a module at present."""
    return Exists(Check.objects.filter(lease_until__gt=timezone.now()))


def status_for(report: Report) -> StatusReport | None:
    """Return the status of a report about a module; None if there is nothing to report."""
    if is_of_impact(report.name):
        return reports.status_for(report)
    return reporting.status_for(report)


def comment_for(report: Report) -> CommentReport | None:
    """Return the comment of a report about a module; None if there is nothing to report."""
    return reports.comment_for(report) if is_of_impact(report.name) else None
