"""Stacks: the list, the form that creates one, its page, and changing it."""

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_http_methods, require_safe

from stacks.forms import NAME_TAKEN, IntegrateVcsForm, NameStackForm
from stacks.heads import follow_from_now, read_head
from stacks.models import Stack
from stacks.sources import (
    MOST_OPTIONS,
    branches_matching,
    known_repository,
    not_known_yet,
    pasted_branch,
    repositories_matching,
    without_password,
)
from vcs_integrations.models import Integration
from vcs_integrations.providers.base import ProviderError

STEPS = (IntegrateVcsForm, NameStackForm)
STACKS_ON_A_PAGE = 50


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
        return render(request, "stacks/nothing_linked.html")
    if request.method != "POST":
        return _show_step(request, {"provider": request.GET.get("provider", "")}, 1)
    values = {
        name: without_password(request.POST.get(name, ""))
        for step in STEPS
        for name in step.base_fields
    }
    current = 2 if request.POST.get("step") == "2" else 1
    if "back" in request.POST:
        return _show_step(request, values, current - 1 or 1)
    source, naming = IntegrateVcsForm(values), NameStackForm(values)
    if not source.is_valid():
        return _show_step(request, values, 1, source)
    values |= source.understood
    if current == 1:
        return _show_step(request, values, 2)
    if not naming.is_valid():
        return _show_step(request, values, 2, naming)
    try:
        with transaction.atomic():
            stack = Stack.objects.create(**source.stack_fields, **naming.cleaned_data)
    except IntegrityError:  # somebody took the name in this moment
        naming.add_error("name", NAME_TAKEN)
        return _show_step(request, values, 2, naming)
    follow_from_now(stack)
    messages.success(request, f"Stack {stack.name} was created")
    return redirect(stack)


def _show_step(
    request: HttpRequest, values: dict[str, str], number: int, form: forms.Form | None = None
) -> HttpResponse:
    """Show one step, and carry the values of the others in hidden fields."""
    form = form or STEPS[number - 1](initial=values)
    context = {
        "form": form,
        "number": number,
        "steps": STEPS,
        "is_last": number == len(STEPS),
        "carried": {name: value for name, value in values.items() if name not in form.fields},
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
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    return render(request, "stacks/stack.html", {"stack": found})


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
def edit_stack(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    now = {
        "name": found.name,
        "description": found.description,
        "project_root": found.project_root,
        "labels": ", ".join(found.labels),
    }
    form = NameStackForm(request.POST or None, stack=found, initial=now)
    if form.is_valid() and _change(found, form):
        messages.success(request, f"Stack {found.name} was changed")
        return redirect(found)
    return render(request, "stacks/edit_stack.html", {"form": form, "stack": found})


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
        return render(request, "stacks/nothing_linked.html")
    form = IntegrateVcsForm(request.POST or None, initial=now)
    if form.is_valid():
        found.follow(**form.stack_fields)
        follow_from_now(found)
        messages.success(request, f"Stack {found.name} was changed")
        return redirect(found)
    return render(request, "stacks/change_source.html", {"form": form, "stack": found})


@require_http_methods(["GET", "HEAD", "POST"])
def delete_stack(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    if request.method != "POST":
        return render(request, "stacks/delete_stack.html", {"stack": found})
    found.delete()
    messages.success(request, f"Stack {found.name} was deleted")
    return redirect("stack_list")


def _change(found: Stack, form: NameStackForm) -> bool:
    """Store what the form says; on False the form says that its name was taken meanwhile."""
    for field, value in form.cleaned_data.items():
        setattr(found, field, value)
    try:
        with transaction.atomic():
            found.save(update_fields=[*form.cleaned_data, "search_text"])
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
