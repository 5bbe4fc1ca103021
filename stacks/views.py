"""Stacks: the list, the form that creates one, its pages with runs, and changing it."""

from collections.abc import Sequence
from hashlib import sha256

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit import Verb, record
from accounts.roles import is_admin
from stacks.environment import held_by
from stacks.forms import (
    NAME_TAKEN,
    ActivityFilter,
    BackendForm,
    BehaviorForm,
    IntegrateVcsForm,
    NameStackForm,
    StepForm,
)
from stacks.heads import follow_from_now, read_head
from stacks.matches import Matches, in_words, matches_of
from stacks.models import PullRequest, Run, Stack
from stacks.models.report import What, policy_name
from stacks.older_pull_requests import plan_older, waiting
from stacks.sources import (
    MOST_OPTIONS,
    branches_matching,
    known_repository,
    not_known_yet,
    pasted_branch,
    repositories_matching,
    without_password,
)
from stacks.states import UNDER_WAY
from vcs_integrations.keyset import keyset_page
from vcs_integrations.models import Integration, Project
from vcs_integrations.providers.base import ProviderError

STEPS: tuple[type[StepForm], ...] = (
    IntegrateVcsForm,
    NameStackForm,
    BehaviorForm,
    BackendForm,
)
STACKS_ON_A_PAGE = 50
RUNS_ON_A_PAGE = 30
PULL_REQUESTS_SHOWN = 20
DECISIONS_ON_A_PAGE = 50


@require_safe
def stack_list(request: HttpRequest) -> HttpResponse:
    text = request.GET.get("q", "").replace("\0", "").strip()
    stacks = Stack.objects.with_repository().matching(text)
    page = Paginator(stacks, STACKS_ON_A_PAGE).get_page(request.GET.get("page"))
    template = (
        "stacks/stack_table.html" if request.headers.get("HX-Request") else "stacks/stack_list.html"
    )
    response = render(request, template, {"page": page, "q": text})
    patch_vary_headers(response, ["HX-Request"])  # one address, a page and a part of it
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def create_stack(request: HttpRequest) -> HttpResponse:
    """Go step by step; every request carries what was typed in all steps, and "Back" keeps it.

    Going on checks the step at hand and those before it, for what changed meanwhile.
    """
    if not Integration.objects.usable().exists():
        return render(request, "stacks/nothing_linked.html", {"title": "Create stack"})
    if request.method != "POST":
        provider = {"provider": request.GET.get("provider", "")}
        return _show_step(request, _initial_values() | provider, 1)
    numbers = {str(number): number for number in range(1, len(STEPS) + 1)}
    current = numbers.get(request.POST.get("step", ""), 1)
    values = _typed_values(request, current)
    if "show_matches" in request.POST:
        return _show_matches_of_new(request, values)
    if "back" in request.POST:
        return _show_step(request, values, current - 1 or 1)
    checked: list[StepForm] = []
    for number, step in enumerate(STEPS[:current], start=1):
        form = step(values)
        if not form.is_valid():
            return _show_step(request, values, number, form)
        values |= form.understood
        checked.append(form)
    if current < len(STEPS):
        return _show_step(request, values, current + 1)
    fields = {name: value for form in checked for name, value in form.stack_fields.items()}
    try:
        with transaction.atomic():
            stack = Stack.objects.create(**fields)
            record(request, Verb.STACK_CREATED, stack)
    except IntegrityError:  # somebody took the name in this moment
        naming = STEPS.index(NameStackForm)
        checked[naming].add_error("name", NAME_TAKEN)
        return _show_step(request, values, naming + 1, checked[naming])
    follow_from_now(stack)
    messages.success(request, f"Stack {stack.name} was created")
    return redirect(stack)


def _initial_values() -> dict[str, str]:
    """Return what the steps say at first, as a browser sends it."""
    return {
        name: "on" if field.initial is True else field.initial or ""
        for step in STEPS
        for name, field in step.base_fields.items()
    }


def _typed_values(request: HttpRequest, current: int) -> dict[str, str]:
    """Return what is typed in all steps; what was not shown yet is as at first.

    Of the step at hand, a checkbox that is not sent is not checked.
    """
    not_sent = _initial_values() | dict.fromkeys(STEPS[current - 1].base_fields, "")
    return {
        name: without_password(request.POST.get(name, missing))
        for name, missing in not_sent.items()
    }


def _show_matches_of_new(request: HttpRequest, values: dict[str, str]) -> HttpResponse:
    """Show which files the globs match that were typed for a stack that is not there yet."""
    source, form = IntegrateVcsForm(values), BehaviorForm(values)
    if source.is_valid():
        matches = matches_of(form, **source.stack_fields)
    else:
        matches = Matches("", problem=in_words(source))
    if request.headers.get("HX-Request"):
        return render(request, "stacks/glob_matches.html", {"matches": matches})
    number = STEPS.index(BehaviorForm) + 1
    return _show_step(request, values, number, form, matches)


def _show_step(
    request: HttpRequest,
    values: dict[str, str],
    number: int,
    form: forms.Form | None = None,
    matches: Matches | None = None,
) -> HttpResponse:
    """Show one step, and carry the values of the others in hidden fields."""
    form = form or STEPS[number - 1](initial=values)
    context = {
        "form": form,
        "number": number,
        "steps": STEPS,
        "is_last": number == len(STEPS),
        "carried": {name: value for name, value in values.items() if name not in form.fields},
        "matches": matches,
    }
    return render(request, "stacks/create_stack.html", context)


@require_safe
def repository_options(request: HttpRequest) -> HttpResponse:
    """The matches of the repository field, as options of its list."""
    integration = _chosen_integration(request)
    if integration is None:
        return render(request, "stacks/options.html", {"note": "Choose a provider first."})
    typed = _typed(request, "repository")
    found = repositories_matching(integration, typed)
    if not found and not integration.was_reached:
        return render(request, "stacks/options.html", {"note": not_known_yet(integration)})
    branch = pasted_branch(integration, typed)
    context = {
        "field": "repository",
        "options": [
            {
                "text": str(repository),
                "note": "" if repository.default_branch else "empty",
                "branch": branch or repository.default_branch,
            }
            for repository in found[:MOST_OPTIONS]
        ],
        "note": _note(len(found), "repository"),
    }
    return render(request, "stacks/options.html", context)


@require_safe
def branch_options(request: HttpRequest) -> HttpResponse:
    """The matches of the branch field, as options of its list."""
    integration = _chosen_integration(request)
    typed = _typed(request, "repository")
    repository = known_repository(integration, typed) if integration else None
    if repository is None and integration and not integration.was_reached:
        return render(request, "stacks/options.html", {"note": not_known_yet(integration)})
    if repository is None:
        return render(request, "stacks/options.html", {"note": "Choose a repository first."})
    try:
        found = branches_matching(repository, _typed(request, "branch"))
    except ProviderError as error:
        return render(request, "stacks/options.html", {"note": str(error)})
    context = {
        "field": "branch",
        "options": [
            {
                "text": branch.name,
                "note": "default" if branch.name == repository.default_branch else "",
            }
            for branch in found[:MOST_OPTIONS]
        ],
        "note": _note(len(found), "branch"),
    }
    return render(request, "stacks/options.html", context)


@require_safe
def stack(request: HttpRequest, slug: str) -> HttpResponse:
    """A stack's head, open pull requests and runs; the page asks again for what is live of it.

    The answer is empty (204) as long as that has the version the page shows already.
    """
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    page = keyset_page(request, found.runs.for_pages(), "number", RUNS_ON_A_PAGE, "version")
    pull_requests = _open_pull_requests(found)
    older = _older_that_wait(found)
    version = _version(found, page.rows, pull_requests, older)
    is_live = bool(request.headers.get("HX-Request"))
    if is_live and request.GET.get("version") == version:
        response = HttpResponse(status=204)
    else:
        context = {
            "stack": found,
            "page": page,
            "pull_requests": pull_requests[:PULL_REQUESTS_SHOWN],
            "has_more_pull_requests": len(pull_requests) > PULL_REQUESTS_SHOWN,
            "older": older,
            "policy_name": policy_name(found),
            "version": version,
            "is_fresh": is_live,
            "lacks_hooks": not is_live and _project(found, Project.objects.without_hooks()),
            "is_left_alone": not is_live and _project(found, Project.objects.left_alone()),
        }
        template = "stacks/live.html" if is_live else "stacks/stack.html"
        response = render(request, template, context)
    patch_vary_headers(response, ["HX-Request"])  # one address, a page and a part of it
    return response


def _project(found: Stack, among: QuerySet[Project]) -> bool:
    """Say whether a stack's project is among some."""
    repository = found.repository
    same = among.filter(integration=repository.integration_id, external_id=repository.project_id)
    return same.exists()


def _open_pull_requests(found: Stack) -> list[tuple[PullRequest, Run | None]]:
    """Return the newest open pull requests to the tracked branch, each with its newest run.

    Each knows the rule by which it is blocked. One more than is shown tells that there are more.
    """
    newest = found.runs.filter(pull_request=OuterRef("pk")).order_by("-number")
    answers = found.reports.filter(
        what=What.PULL_REQUEST_STATUS, pull_request=OuterRef("pk"), iteration=OuterRef("iteration")
    )
    rows = list(
        found.repository.pull_requests.filter(status="active", target_branch=found.branch)
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
    """Return a word for what is shown; it is another one each minute, as the ages are."""
    shown = (
        found.head_sha,
        found.branch_gone_at,
        found.is_detached,
        [(run.number, run.state, run.pull_request_id) for run in runs],
        [(one.number, one.version, run and (run.number, run.state)) for one, run in pull_requests],
        (older, found.plans_older),
        timezone.now().replace(second=0, microsecond=0),
    )
    return sha256(repr(shown).encode()).hexdigest()[:16]


@require_safe
def activity(request: HttpRequest, slug: str) -> HttpResponse:
    """What was decided about a stack, and why."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    form = ActivityFilter(request.GET)
    decisions = form.narrow(found.decisions.for_pages())
    context = {
        "stack": found,
        "form": form,
        "page": keyset_page(request, decisions, "pk", DECISIONS_ON_A_PAGE),
    }
    template = "decisions" if request.headers.get("HX-Request") else "activity"
    response = render(request, f"stacks/{template}.html", context)
    patch_vary_headers(response, ["HX-Request"])  # one address, a page and a part of it
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def refresh_head(request: HttpRequest, slug: str) -> HttpResponse:
    """Read the head commit again; who only opens the address is led to the stack."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    if request.method != "POST":
        return redirect(found)
    failure = None if found.is_detached else read_head(found)
    if request.headers.get("HX-Request"):
        return render(
            request, "stacks/head.html", {"stack": found, "failure": failure, "is_fresh": True}
        )
    if failure:
        messages.error(request, f"The head commit could not be read. {failure}")
    return redirect(found)


@require_http_methods(["GET", "HEAD", "POST"])
def plan_open(request: HttpRequest, slug: str) -> HttpResponse:
    """Have the pull requests planned that are older than the stack; a GET leads to the stack."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    # Who presses it twice, or after somebody else, starts nothing more.
    if request.method == "POST" and found.plans_older is False:
        with transaction.atomic():
            count = plan_older(found)
            noun = "pull request" if count == 1 else "pull requests"
            record(request, Verb.PULL_REQUESTS_PLANNED, found, f"{count} {noun}")
        messages.success(request, f"{count} open {noun} will be planned")
    return redirect(found)


@require_http_methods(["GET", "HEAD", "POST"])
def edit_stack(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    now = {
        "name": found.name,
        "description": found.description,
        "project_root": found.project_root,
        "labels": ", ".join(found.labels),
    }
    form = NameStackForm(request.POST or None, stack=found, initial=now)
    is_moved = form.is_valid() and form.cleaned_data["project_root"] != found.project_root
    # In another folder others may review, and its code would find the same secrets.
    if is_moved and (refusal := _refuses_source(request, found)):
        form.add_error("project_root", refusal)
    if form.is_valid() and _change(request, found, form):
        messages.success(request, f"Stack {found.name} was changed")
        return redirect(found)
    return render(request, "stacks/edit_stack.html", {"form": form, "stack": found})


@require_http_methods(["GET", "HEAD", "POST"])
def change_behavior(request: HttpRequest, slug: str) -> HttpResponse:
    """Choose what becomes a run from now on, or see which files the globs match."""
    if "show_matches" not in request.POST:
        return _change_step(request, slug, BehaviorForm)
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    form = BehaviorForm(request.POST)
    matches = matches_of(form, found.repository, found.branch)
    template = "glob_matches" if request.headers.get("HX-Request") else "change_step"
    context = {"form": form, "stack": found, "matches": matches}
    return render(request, f"stacks/{template}.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def change_backend(request: HttpRequest, slug: str) -> HttpResponse:
    """Choose what plans and applies from now on, and who keeps the state.

    A plan is applied with what it was made with: while a run is under way, that stays.
    """
    busy = Run.objects.filter(stack__slug=slug, state__in=UNDER_WAY).first()
    if busy and request.method == "POST":
        messages.error(request, f"{busy} is {busy.state}: change the backend once it has ended")
        return redirect("change_backend", slug)
    return _change_step(request, slug, BackendForm)


def _change_step(request: HttpRequest, slug: str, step: type[StepForm]) -> HttpResponse:
    """Let one step of the form be filled in again for a stack that there is."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    # An empty form is one with nothing checked, and no reason to show the present choices.
    typed = request.POST if request.method == "POST" else None
    form = step(typed, initial=step.initial_of(found))
    if form.is_valid():
        with transaction.atomic():
            Stack.objects.filter(pk=found.pk).update(**form.stack_fields)
            record(request, Verb.STACK_CHANGED, found, str(form.title))
        messages.success(request, f"Stack {found.name} was changed")
        return redirect(found)
    return render(request, "stacks/change_step.html", {"form": form, "stack": found})


@require_http_methods(["GET", "HEAD", "POST"])
def change_source(request: HttpRequest, slug: str) -> HttpResponse:
    """Let a stack follow another branch or repository, or attach it to another integration."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    now = {
        "provider": found.integration.pk,
        "repository": str(found.repository),
        "branch": found.branch,
    }
    if not Integration.objects.usable().exists():
        context = {"title": "Change repository or branch", "stack": found}
        return render(request, "stacks/nothing_linked.html", context)
    form = IntegrateVcsForm(request.POST or None, initial=now)
    refusal = _refuses_source(request, found)
    is_same = form.is_valid() and form.stack_fields == {
        "repository": found.repository,
        "branch": found.branch,
    }
    if form.is_valid() and refusal and not is_same:
        form.add_error(None, refusal)
    if form.is_valid():
        with transaction.atomic():
            found.follow(**form.stack_fields)
            record(request, Verb.STACK_CHANGED, found, f"{found.repository}, branch {found.branch}")
        follow_from_now(found)
        messages.success(request, f"Stack {found.name} was changed")
        return redirect(found)
    context = {"form": form, "stack": found, "refusal": "" if form.is_bound else refusal}
    return render(request, "stacks/change_source.html", context)


def _refuses_source(request: HttpRequest, found: Stack) -> str:
    """Say why somebody may not choose whose code a stack runs; empty if they may."""
    held = "" if is_admin(request) else held_by(found)
    return held and (
        f"This stack holds {held}, which the code that it runs can read. Only an admin may change "
        f"its repository, branch or project root. Ask an admin of Stackhook."
    )


@require_http_methods(["GET", "HEAD", "POST"])
def delete_stack(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    if request.method != "POST":
        context = {"stack": found, "newest_state": found.state_versions.first()}
        return render(request, "stacks/delete_stack.html", context)
    with transaction.atomic():
        record(request, Verb.STACK_DELETED, found)
        found.delete()
    messages.success(request, f"Stack {found.name} was deleted")
    return redirect("stack_list")


def _change(request: HttpRequest, found: Stack, form: NameStackForm) -> bool:
    """Store what the form says; on False the form says that its name was taken meanwhile."""
    for field, value in form.cleaned_data.items():
        setattr(found, field, value)
    try:
        with transaction.atomic():
            found.save(update_fields=[*form.cleaned_data, "search_text"])
            record(request, Verb.STACK_CHANGED, found, "Name and labels")
    except IntegrityError:
        form.add_error("name", NAME_TAKEN)
        return False
    return True


def _chosen_integration(request: HttpRequest) -> Integration | None:
    pk = _typed(request, "provider")
    usable = Integration.objects.usable()
    return usable.filter(pk=int(pk)).first() if pk.isascii() and pk.isdigit() else None


def _typed(request: HttpRequest, name: str) -> str:
    return request.GET.get(name, "").replace("\0", "").strip()[:2000]


def _note(count: int, noun: str) -> str:
    if count == 0:
        return f"No {noun} matches."
    if count > MOST_OPTIONS:
        return f"More than {MOST_OPTIONS} match: type more to narrow them down."
    return ""
