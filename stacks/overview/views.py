"""Stacks: the list, the page of each with its runs, and its activity."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from core.http import HtmxHttpRequest, post_or_redirect, render_live, version_of
from core.keyset import keyset_page
from stacks.arguments.arguments import arguments_of
from stacks.deciding.older_pull_requests import plan_older, waiting
from stacks.models import PullRequest, Reach, Run, Stack
from stacks.models.report import What, policy_name
from stacks.module_registry import module_registry
from stacks.overview.all_runs import runs_of_stack
from stacks.overview.forms import ActivityFilter, StackRunFilter
from stacks.overview.stack_list import SORTS, stack_list_of
from stacks.sources.heads import read_head
from vcs_integrations.models import Project

PULL_REQUESTS_SHOWN = 20
DECISIONS_ON_A_PAGE = 50


def _stack(slug: str) -> Stack:
    return get_object_or_404(Stack.objects.with_repository(), slug=slug)


@require_safe
def stack_list(request: HtmxHttpRequest) -> HttpResponse:
    """The list of stacks; the page polls it."""
    found = stack_list_of(request.GET)
    return render_live(
        request,
        "stacks/overview/stack_list.html",
        "stacks/overview/stack_table.html",
        found.version,
        {"list": found, "sorts": SORTS},
    )


@require_safe
def stack(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """A stack's head, open pull requests and runs; the page polls its live part.

    The answer is empty (204) as long as that has the version the page shows already.
    """
    found = _stack(slug)
    form = StackRunFilter(request.GET)
    wanted = form.wanted
    page = runs_of_stack(request, replace(wanted, stack=found)) if wanted else None
    pull_requests = _open_pull_requests(found)
    older = _older_that_wait(found)
    version = _version(found, page.rows if page else [], pull_requests, older)
    is_live = bool(request.htmx)
    if is_live and request.GET.get("version") == version:
        response = HttpResponse(status=204)
    else:
        context = {
            "stack": found,
            "arguments": arguments_of(found),
            "form": form,
            "page": page,
            "pull_requests": pull_requests[:PULL_REQUESTS_SHOWN],
            "has_more_pull_requests": len(pull_requests) > PULL_REQUESTS_SHOWN,
            "older": older,
            "drift_run": found.runs.filter(pk=found.drift_run_id or 0)
            .select_related("stack")
            .first(),
            "behind_modules": module_registry().part_of_stack(found),
            "readable": list(found.readable.all()) if found.reach == Reach.LISTED else [],
            "policy_name": policy_name(found),
            "part": "stacks/overview/live.html",
            "live_version": version,
            "is_fresh": is_live,
            "project_without_hooks": not is_live and Project.objects.unreported(found.repository),
        }
        template = "live.html" if is_live else "stacks/overview/stack.html"
        response = render(request, template, context)
    patch_vary_headers(response, ["HX-Request"])  # one address, a page and a part of it
    return response


def _open_pull_requests(found: Stack) -> list[tuple[PullRequest, Run | None]]:
    """Return the newest open pull requests to the tracked branch, each with its newest run.

    Each knows the rule by which it is blocked. One more than is shown means that there are more.
    """
    newest = found.runs.filter(sources__pull_request=OuterRef("pk")).order_by("-number")
    answers = found.reports.filter(
        what=What.COMMENT, pull_request=OuterRef("pk"), revision=OuterRef("revision")
    )
    rows: list[Any] = list(  # with what the query adds
        PullRequest.objects.open_to(found)
        .select_related("repository__integration")
        .annotate(
            newest_run=Subquery(newest.values("pk")[:1]),
            blocked_by=Subquery(answers.values("blocked_by")[:1]),
        )[: PULL_REQUESTS_SHOWN + 1]
    )
    runs = Run.objects.select_related("stack").in_bulk([row.newest_run for row in rows])
    return [(row, runs.get(row.newest_run)) for row in rows]


def _older_that_wait(found: Stack) -> int:
    """Return how many open pull requests, older than the stack, are not planned yet."""
    may_wait = found.plans_older is False or found.plan_older_at is not None
    return waiting(found).count() if may_wait and not found.is_detached else 0


def _version(
    found: Stack,
    runs: Sequence[Run],
    pull_requests: Sequence[tuple[PullRequest, Run | None]],
    older: int,
) -> str:
    return version_of(
        found.head_sha,
        found.branch_gone_at,
        found.is_detached,
        found.drift_run_id,
        [(run.number, run.state, [one.pk for one in run.proposals]) for run in runs],
        [(one.number, one.version, run and (run.number, run.state)) for one, run in pull_requests],
        (older, found.plans_older),
    )


@require_safe
def activity(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """What was decided about a stack, and why; the page polls it."""
    found = _stack(slug)
    form = ActivityFilter(request.GET)
    decisions = form.narrow(found.decisions.for_pages())
    page = keyset_page(request, decisions, "pk", DECISIONS_ON_A_PAGE)
    return render_live(
        request,
        "stacks/overview/activity.html",
        "stacks/overview/decisions.html",
        version_of([one.pk for one in page.rows]),
        {"stack": found, "form": form, "page": page},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@post_or_redirect(_stack)
def refresh_head(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Read the head commit again."""
    found = _stack(slug)
    failure = None if found.is_detached else read_head(found)
    if request.htmx:
        return render(
            request,
            "stacks/overview/head.html",
            {"stack": found, "failure": failure, "is_fresh": True},
        )
    if failure:
        messages.error(request, f"The head commit could not be read. {failure}")
    return redirect(found)


@require_http_methods(["GET", "HEAD", "POST"])
@post_or_redirect(_stack)
def plan_open(request: HttpRequest, slug: str) -> HttpResponse:
    """Have the pull requests planned that are older than the stack."""
    found = _stack(slug)
    # Pressing it twice, or after somebody else, starts nothing more.
    if found.plans_older is False:
        with transaction.atomic():
            count = plan_older(found)
            noun = "pull request" if count == 1 else "pull requests"
            record(request, Verb.PULL_REQUESTS_PLANNED, found, f"{count} {noun}")
        messages.success(request, f"{count} open {noun} will be planned")
    return redirect(found)
