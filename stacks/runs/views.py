"""The page of a run: its state, its plan, its log while it grows, and what can be done with it."""

from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.db import transaction
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from accounts.models import User
from accounts.roles import members_only
from core.http import HtmxHttpRequest, digest_of, post_or_redirect
from stacks.arguments.arguments import arguments_used
from stacks.lifecycle.actions import Action, NotPossible, act, refuses_confirmation
from stacks.lifecycle.approvals import counting_approvals, missing_after
from stacks.models import Decision, PlanChange, Run, plan_digest_of
from stacks.models.plan import ChangeKind
from stacks.overview.views import DECISIONS_ON_A_PAGE
from stacks.plans.listing import first_page
from stacks.reports.texts import doubts_about
from stacks.rules.changes import DESTROYING
from stacks.rules.stack_names import why_not_confirmed
from stacks.rules.states import State
from stacks.runs import log
from stacks.runs.buttons import asks_before_apply, buttons_for
from stacks.runs.steps import steps_of, successor_of
from stacks.runs.waiting import why_waiting

# How many resources that a plan destroys are listed where it is asked about.
DESTROYING_SHOWN = 50
OTHER_PLAN = "The plan is not the one that was shown. Read it again, then confirm."
VERBS = {
    Action.APPROVE: Verb.RUN_APPROVED,
    Action.CONFIRM: Verb.RUN_CONFIRMED,
    Action.DISCARD: Verb.RUN_DISCARDED,
    Action.CANCEL: Verb.RUN_CANCELED,
    Action.RETRY: Verb.RUN_RETRIED,
}
POSTED = {*VERBS} - {Action.APPROVE}


def found_run(slug: str, number: int) -> Run:
    """Return a run with all that its pages show of it. Raises Http404."""
    related = ("repeats__stack", "stack__repository__integration")
    decisions = Decision.objects.filter(run=OuterRef("pk")).order_by("-pk")
    runs = Run.objects.for_pages().select_related(*related)
    runs = runs.annotate(newest_decision=Subquery(decisions.values("pk")[:1]))
    return get_object_or_404(runs, stack__slug=slug, number=number)


@require_safe
def run(request: HtmxHttpRequest, slug: str, number: int) -> HttpResponse:
    """One run, and the newest decisions about it; the page polls its live parts.

    The answer is empty (204) as long as they have the version the page shows already.
    """
    found = found_run(slug, number)
    person = cast(User, request.user)
    done = list(found.actions.all())
    approvals = counting_approvals(found)
    context = {
        "run": found,
        "stack": found.stack,
        "arguments": arguments_used(found),
        "steps": steps_of(found, done, approvals),
        "buttons": (buttons := buttons_for(found, person, approvals)),
        "approvals": approvals,
        "takes_note": any(not one.why_not for one in buttons),
        "waiting": why_waiting(found),
        "doubts": doubts_about(found).sentences,
        "refusal": refuses_confirmation(found) if found.state == State.UNCONFIRMED else "",
        "done": done,
        "repeated_by": list(found.repeated_by.select_related("stack")) if found.has_ended else [],
        # Before it is prepared there are none.
        "module_sources": [] if found.is_waiting else list(found.module_sources.for_pages()),
    }
    version = _version(context)
    is_live = bool(request.htmx)
    if is_live and request.GET.get("version") == version:
        response = HttpResponse(status=204)
    elif is_live:
        context |= _read_besides(found) | {"version": version, "is_live": True}
        response = render(request, "stacks/runs/run_live.html", context)
    else:
        context |= _read_besides(found) | {"version": version} | log.shown(found, request.GET)
        response = render(request, "stacks/runs/run.html", context)
    patch_vary_headers(response, ["HX-Request"])  # one address, a page and a part of it
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@post_or_redirect(found_run)
def act_on_run(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Confirm, discard, cancel or retry; where others have to confirm, too, that is an approval."""
    found = found_run(slug, number)
    action = request.POST.get("action", "")
    if action not in POSTED:
        return redirect(found)
    note = request.POST.get("note", "").replace("\0", "").strip()
    is_confirmed = action == Action.CONFIRM and found.state == State.UNCONFIRMED
    if is_confirmed and asks_before_apply(found) and not request.POST.get("sure"):
        return redirect(_ask_again_url(found, request.POST.get("plan", "")))
    try:
        with transaction.atomic():
            if is_confirmed:
                _check_name(found, request.POST.get("stack_name", ""))
                note = _note_of_plan(found, request.POST.get("plan", ""), note)
            shown = act(found, Action(action), cast(User, request.user), note)
            still_waits = is_confirmed and shown.state == State.UNCONFIRMED
            done = Action.APPROVE if still_waits else Action(action)
            record(request, VERBS[done], found, note, name=f"{found} of {found.stack}")
    except NotPossible as error:
        messages.error(request, f"Nothing was done. {error}")
        return redirect(found)
    messages.success(request, f"{found} was {done.label.lower()}")
    return redirect(shown)


@require_safe
@members_only
def confirm_run(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Ask once more before a plan is applied that destroys resources; nothing is done by it.

    The query names the plan that was shown: another one is not asked about.
    """
    found = found_run(slug, number)
    digest = plan_digest_of(found)
    if found.state != State.UNCONFIRMED:
        messages.error(request, f"Nothing was done. {found} {found.state_clause}.")
        return redirect(found)
    if request.GET.get("plan", "") != digest:
        messages.error(request, f"Nothing was done. {OTHER_PLAN}")
        return redirect(found)
    destroying = PlanChange.objects.filter(
        run=found, kind=ChangeKind.RESOURCE, action__in=DESTROYING
    )
    person, approvals = cast(User, request.user), counting_approvals(found)
    context = {
        "run": found,
        "stack": found.stack,
        "button": buttons_for(found, person, approvals)[0],
        "is_last": missing_after(found, person, approvals) == 0,
        "plan_digest": digest,
        "destroying": destroying[:DESTROYING_SHOWN],
        "more_destroying": max(0, (found.destroyed or 0) - DESTROYING_SHOWN),
    }
    return render(request, "stacks/runs/confirm_run.html", context)


def _ask_again_url(run: Run, digest: str) -> str:
    query = urlencode({"plan": digest})
    return f"{reverse('stacks:confirm_run', args=[run.stack.slug, run.number])}?{query}"


def _check_name(run: Run, typed: str) -> None:
    """Raise NotPossible if a run destroys, and who confirms it did not type its stack's name."""
    if run.destroys and (refusal := why_not_confirmed(typed, run.stack.name)):
        raise NotPossible(refusal)


def _note_of_plan(run: Run, seen: str, note: str) -> str:
    """Return a note that names the plan that is confirmed.

    Raises NotPossible if the plan is not the one that the page showed.
    """
    digest = plan_digest_of(run)
    if seen != digest:
        raise NotPossible(OTHER_PLAN)
    return " ".join(filter(None, [f"Plan {digest[:12]}." if digest else "", note]))


def _read_besides(run: Run) -> dict[str, Any]:
    """Return what else a page shows of a run: a poll need not read it while nothing changed.

    It changes with the run's state, its plan, the pull requests that it is about, or with a newer
    decision.
    """
    decisions = list(run.decisions.for_pages()[: DECISIONS_ON_A_PAGE + 1])
    return {
        "successor": successor_of(run),
        "plan_digest": plan_digest_of(run) if run.state == State.UNCONFIRMED else "",
        "plan": None if run.added is None or run.is_waiting else first_page(run),
        "decisions": decisions[:DECISIONS_ON_A_PAGE],
        "has_more_decisions": len(decisions) > DECISIONS_ON_A_PAGE,
    }


def _version(context: dict[str, Any]) -> str:
    """Return a digest of the live part; ages alone don't change it, since people may be typing."""
    found: Run = context["run"]
    return digest_of(
        found.state,
        found.failure,
        found.warnings,
        found.worker,
        found.tool_version,
        [one.pk for one in found.proposals],
        context["steps"],
        context["buttons"],
        context["waiting"],
        context["doubts"],
        [one.pk for one in context["approvals"]],
        [one.pk for one in context["done"]],
        [one.number for one in context["repeated_by"]],
        [one.pk for one in context["module_sources"]],
        context["run"].newest_decision,
    )
