"""The stacks that use a module, and the impact of a pull request on them."""

from functools import partial

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from core.http import HtmxHttpRequest, post_or_redirect, render_live, version_of
from modules.impact import planning
from modules.impact.behind import newest_version, stacks_behind
from modules.impact.table import Outcome, table_of
from modules.impact.uses import users_of
from modules.models import Impact, Module

IMPACTS_SHOWN = 20


def _module(namespace: str, name: str, system: str) -> Module:
    modules = Module.objects.with_repository()
    return get_object_or_404(modules, namespace=namespace, name=name, system=system)


def _impact(namespace: str, name: str, system: str, pull_number: int) -> Impact:
    """Return the newest revision of a pull request that was planned."""
    module = _module(namespace, name, system)
    impacts = module.impacts.select_related("pull_request__repository__integration")
    found = impacts.filter(pull_request__number=pull_number).order_by("-revision").first()
    impact = found or get_object_or_404(impacts, pull_request__number=pull_number)
    impact.module = module
    return impact


@require_safe
def stacks(request: HtmxHttpRequest, namespace: str, name: str, system: str) -> HttpResponse:
    """The stacks that use a module, and pull requests that were planned in them.

    The page polls the pull requests.
    """
    module = _module(namespace, name, system)
    recent = module.impacts.filter(is_superseded=False).select_related(
        "module", "pull_request__repository__integration"
    )
    impacts = [table_of(one) for one in recent[:IMPACTS_SHOWN]]
    return render_live(
        request,
        "modules/impact/stacks.html",
        "modules/impact/impacts.html",
        version_of([(one.impact.pk, one.summary) for one in impacts]),
        {"module": module, "impacts": impacts},
        partial(_uses_of, module),
    )


def _uses_of(module: Module) -> dict[str, object]:
    """Return what the page shows of the stacks that use a module."""
    uses, newest = users_of(module), newest_version(module)
    return {"uses": uses, "behind": stacks_behind(module, uses, newest), "newest": newest}


@require_safe
def impact(
    request: HtmxHttpRequest, namespace: str, name: str, system: str, pull_number: int
) -> HttpResponse:
    """What a pull request would change in the stacks that use a module; the page polls it."""
    found = _impact(namespace, name, system, pull_number)
    table = table_of(found)
    shown = [(row.plan.pk, row.run and (row.run.pk, row.run.state), row.text) for row in table.rows]
    return render_live(
        request,
        "modules/impact/impact.html",
        "modules/impact/table.html",
        version_of(shown, found.pk, found.is_superseded, found.pull_request.status),
        {
            "module": found.module,
            "impact": found,
            "table": table,
            "rest": table.count(Outcome.REST),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@post_or_redirect(_impact)
def plan_rest(
    request: HttpRequest, namespace: str, name: str, system: str, pull_number: int
) -> HttpResponse:
    """Have the stacks planned that are beyond the limit."""
    found = _impact(namespace, name, system, pull_number)
    if found.is_superseded:
        messages.error(request, f"Nothing was done. {found.pull_request} is not open any more.")
        return redirect(found)
    with transaction.atomic():
        count = planning.plan_rest(found)
        noun = "stack" if count == 1 else "stacks"
        if count:
            record(request, Verb.PULL_REQUESTS_PLANNED, found, f"{count} {noun}")
    messages.success(request, f"{count} {noun} will be planned")
    return redirect(found)
