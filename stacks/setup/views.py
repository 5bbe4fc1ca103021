"""Stacks: the list, the form that creates one, its pages with runs, and changing it."""

from collections.abc import Sequence
from typing import Any, cast

from django import forms
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from accounts.models import User
from accounts.roles import is_admin, members_only
from core.http import HtmxHttpRequest
from stacks.environment.attaching import environments_of, follow_labels, hold_environments
from stacks.environment.destinations import destinations_of
from stacks.environment.labeling import why_not_labeled
from stacks.models import Stack
from stacks.setup.cloning import clone_in
from stacks.setup.doubts import doubts_about
from stacks.setup.forms import (
    NAME_TAKEN,
    BackendForm,
    BehaviorForm,
    IntegrateVcsForm,
    NameStackForm,
    StackStepForm,
    suggested_name,
)
from stacks.setup.matches import Matches, in_words, matches_of
from stacks.setup.steps import context_of_step, current_step, initial_values, typed_values
from stacks.sources.finding import (
    MOST_OPTIONS,
    branches_matching,
    known_repository,
    not_known_yet,
    pasted_branch,
    repositories_matching,
)
from stacks.sources.heads import follow_from_now
from vcs_integrations.models import Integration
from vcs_integrations.providers.base import ProviderError

STEPS: tuple[type[StackStepForm], ...] = (
    IntegrateVcsForm,
    NameStackForm,
    BehaviorForm,
    BackendForm,
)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def create_stack(request: HtmxHttpRequest) -> HttpResponse:
    """Go step by step; every request carries what was typed in all steps, and "Back" keeps it.

    Continuing checks this step and those before it, since things may have changed meanwhile.
    """
    if not Integration.objects.usable().exists():
        return render(request, "stacks/setup/nothing_linked.html", {"title": "Create stack"})
    clone = clone_in(request)
    if request.method != "POST":
        if clone:
            return _show_step(request, clone.first_values(STEPS), 1)
        if "clone" in request.GET:
            messages.warning(request, "The stack to clone is not there any more.")
        provider = {"provider": request.GET.get("provider", "")}
        return _show_step(request, initial_values(STEPS) | provider, 1)
    current = current_step(request, STEPS)
    values = typed_values(request, STEPS, current)
    if "show_matches" in request.POST:
        return _show_matches_of_new(request, values)
    if "back" in request.POST:
        return _show_step(request, values, current - 1 or 1)
    checked: list[StackStepForm] = []
    for number, step in enumerate(STEPS[:current], start=1):
        form = step(values)
        labels = form.cleaned_data.get("labels", []) if form.is_valid() else []
        if refusal := why_not_labeled(request, None, labels):
            form.add_error("labels", refusal)
        if not form.is_valid():
            return _show_step(request, values, number, form)
        values |= form.understood
        checked.append(form)
    fields = {name: value for form in checked for name, value in form.columns.items()}
    if current < len(STEPS):
        return _show_next(request, values, current + 1, fields)
    naming = STEPS.index(NameStackForm)
    try:
        with transaction.atomic():
            hold_environments()  # an admin may have given one a label since the check above
            if refusal := why_not_labeled(request, None, fields["labels"]):
                checked[naming].add_error("labels", refusal)
                return _show_step(request, values, naming + 1, checked[naming])
            owner = cast(User, request.user)
            copied = clone.stack_fields if clone else {}
            stack = Stack.objects.create(owner=owner, **fields, **copied)
            if clone:
                clone.variables.store(stack)
            unchecked = destinations_of(stack).names if clone else ""
            if is_admin(request) and not unchecked:
                follow_labels(stack)
            record(request, Verb.STACK_CREATED, stack, clone.note if clone else "")
    except IntegrityError:  # somebody took the name at the same moment
        checked[naming].add_error("name", NAME_TAKEN)
        return _show_step(request, values, naming + 1, checked[naming])
    follow_from_now(stack)
    messages.success(request, f"Stack {stack.name} was created")
    if clone is None and "clone" in request.POST:
        messages.warning(request, "The cloned stack was deleted, so no variables were copied.")
    if unchecked and environments_of(stack.labels):
        messages.warning(
            request,
            f"Its labels attached no shared environment, as no admin has checked "
            f"{unchecked}, which can send secrets elsewhere. Open each under Environment and "
            f"save it, then attach the environment there.",
        )
    if clone and clone.variables.left:
        messages.warning(request, f"Enter what was not copied: {clone.variables.left}")
        return redirect("stacks:environment", stack.slug)
    return redirect(stack)


def _show_next(
    request: HttpRequest, values: dict[str, str], number: int, fields: dict[str, Any]
) -> HttpResponse:
    """Show the step after one that was accepted, with what can be said of the stack so far."""
    doubts: list[str] = []
    if STEPS[number - 1] is NameStackForm and not values["name"]:
        values["name"] = suggested_name(fields["repository"], fields["branch"])
    if STEPS[number - 2] is NameStackForm:
        doubts = doubts_about(fields["repository"], fields["branch"], fields["project_root"])
    return _show_step(request, values, number, doubts=doubts)


def _show_matches_of_new(request: HtmxHttpRequest, values: dict[str, str]) -> HttpResponse:
    """Show which files the globs match that were typed for a stack that is not there yet."""
    source, form = IntegrateVcsForm(values), BehaviorForm(values)
    if source.is_valid():
        matches = matches_of(form, **source.columns)
    else:
        matches = Matches("", problem=in_words(source))
    if request.htmx:
        return render(request, "stacks/setup/glob_matches.html", {"matches": matches})
    number = STEPS.index(BehaviorForm) + 1
    return _show_step(request, values, number, form, matches)


def _show_step(
    request: HttpRequest,
    values: dict[str, str],
    number: int,
    form: forms.Form | None = None,
    matches: Matches | None = None,
    doubts: Sequence[str] = (),
) -> HttpResponse:
    """Show one step, and carry the values of the others in hidden fields."""
    form = form or STEPS[number - 1](initial=values)
    context = context_of_step(STEPS, number, form, values)
    more = {"matches": matches, "doubts": doubts, "clone": clone_in(request)}
    return render(request, "stacks/setup/create_stack.html", context | more)


@require_safe
@members_only
def repository_options(request: HttpRequest) -> HttpResponse:
    """The matches of the repository field, as options of its list."""
    integration = _chosen_integration(request)
    if integration is None:
        return render(request, "stacks/setup/options.html", {"note": "Choose a provider first."})
    typed = _typed(request, "repository")
    found = repositories_matching(integration, typed)
    if not found and not integration.was_reached:
        return render(request, "stacks/setup/options.html", {"note": not_known_yet(integration)})
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
    return render(request, "stacks/setup/options.html", context)


@require_safe
@members_only
def branch_options(request: HttpRequest) -> HttpResponse:
    """The matches of the branch field, as options of its list."""
    integration = _chosen_integration(request)
    typed = _typed(request, "repository")
    repository = known_repository(integration, typed) if integration else None
    if repository is None and integration and not integration.was_reached:
        return render(request, "stacks/setup/options.html", {"note": not_known_yet(integration)})
    if repository is None:
        return render(request, "stacks/setup/options.html", {"note": "Choose a repository first."})
    try:
        found = branches_matching(repository, _typed(request, "branch"))
    except ProviderError as error:
        return render(request, "stacks/setup/options.html", {"note": str(error)})
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
    return render(request, "stacks/setup/options.html", context)


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
