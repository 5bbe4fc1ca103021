"""Changing a stack: its name, behavior, backend and source; and deleting it."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.roles import is_admin, members_only
from core.http import HtmxHttpRequest
from stacks.dependencies.outputs import revoke
from stacks.environment.attaching import follow_labels
from stacks.environment.labeling import why_not_labeled
from stacks.environment.shared_views import holding_environments
from stacks.environment.variables import held_by
from stacks.models import ModuleSource, Stack
from stacks.rules.states import ENDED, UNDER_WAY
from stacks.setup.doubts import doubts_about
from stacks.setup.fork_runs import why_only_admins_run_forks
from stacks.setup.forms import (
    NAME_TAKEN,
    BackendForm,
    BehaviorForm,
    DeleteStackForm,
    IntegrateVcsForm,
    NameStackForm,
    StackStepForm,
)
from stacks.setup.matches import matches_of
from stacks.sources.heads import follow_from_now
from vcs_integrations.models import Integration, Repository

AUTODEPLOY = (
    "Autodeploy applies plans that nobody has confirmed, and an admin chose under Confirmation who "
    "confirms runs of this stack:"
)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@holding_environments
def edit_stack(request: HttpRequest, slug: str) -> HttpResponse:
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    if request.method == "POST":
        found = _held(found)
    form = NameStackForm(request.POST or None, stack=found, initial=NameStackForm.initial_of(found))
    is_moved = form.is_valid() and form.cleaned_data["project_root"] != found.project_root
    # In another folder others may review, and its code would find the same secrets.
    if is_moved and (refusal := _refuses_source(request, found) or _refuses_root(found)):
        form.add_error("project_root", refusal)
    labels = form.cleaned_data["labels"] if form.is_valid() else found.labels
    if refusal := why_not_labeled(request, found, labels):
        form.add_error("labels", refusal)
    if form.is_valid() and _change(request, found, form):
        messages.success(request, f"Stack {found.name} was changed")
        if is_moved:
            # The provider is asked once nothing is locked any more.
            transaction.on_commit(lambda: _warn(request, found))
        return redirect(found)
    return render(request, "stacks/setup/edit_stack.html", {"form": form, "stack": found})


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def change_behavior(request: HtmxHttpRequest, slug: str) -> HttpResponse:
    """Choose what becomes a run from now on, or see which files the globs match."""
    if "show_matches" not in request.POST:
        return _change_step(request, slug, BehaviorForm)
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    form = BehaviorForm(request.POST)
    matches = matches_of(form, found.repository, found.branch)
    template = "glob_matches" if request.htmx else "change_step"
    context = {"form": form, "stack": found, "matches": matches}
    return render(request, f"stacks/setup/{template}.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def change_backend(request: HttpRequest, slug: str) -> HttpResponse:
    """Choose what plans and applies from now on, and who keeps the state.

    A plan is applied with what it was made with: while a run is under way, that stays.
    """
    if request.method != "POST":
        return _change_step(request, slug, BackendForm)
    with transaction.atomic():
        held = _held(get_object_or_404(Stack, slug=slug))
        busy = held.runs.filter(state__in=UNDER_WAY).first()
        if busy is None:
            return _change_step(request, slug, BackendForm)
    messages.error(request, f"{busy} {busy.state_clause}: change the backend once it has ended")
    return redirect("stacks:change_backend", slug)


def _change_step(request: HttpRequest, slug: str, step: type[StackStepForm]) -> HttpResponse:
    """Let one step of the form be filled in again for a stack that there is."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    # An empty form is one with nothing checked, and no reason to show the present choices.
    typed = request.POST if request.method == "POST" else None
    form = step(typed, initial=step.initial_of(found))
    if form.is_valid() and _store_step(request, found, form):
        messages.success(request, f"Stack {found.name} was changed")
        return redirect(found)
    return render(request, "stacks/setup/change_step.html", {"form": form, "stack": found})


def _store_step(request: HttpRequest, found: Stack, form: StackStepForm) -> bool:
    """Store what a step says; on False the form says why it can't be."""
    with transaction.atomic():
        # Until it is stored, no admin opens anything to proposed runs.
        held = get_object_or_404(Stack.objects.select_for_update(no_key=True), pk=found.pk)
        is_new = form.columns.get("runs_forks") and not held.runs_forks
        if is_new and not is_admin(request) and (refusal := why_only_admins_run_forks(held)):
            form.add_error("runs_forks", refusal)
            return False
        if form.columns.get("autodeploy") and held.restricts_confirmation:
            form.add_error("autodeploy", f"{AUTODEPLOY} {held.confirmation_text}.")
            return False
        stored = Stack.objects.filter(pk=found.pk)
        stored.update(**form.columns)
        if form.columns.get("backend", held.backend) != held.backend:
            stored.forget_drift()
        record(request, Verb.STACK_CHANGED, found, str(form.title))
        # What it begins to follow is read from now on.
        ModuleSource.objects.filter(run__stack=found).have_read()
    return True


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def change_source(request: HttpRequest, slug: str) -> HttpResponse:
    """Let a stack follow another branch or repository, or attach it to another integration."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    if not Integration.objects.usable().exists():
        context = {"title": "Change repository or branch", "stack": found}
        return render(request, "stacks/setup/nothing_linked.html", context)
    form = IntegrateVcsForm(request.POST or None, initial=IntegrateVcsForm.initial_of(found))
    if form.is_valid() and _follow(request, found, form):
        follow_from_now(found)
        messages.success(request, f"Stack {found.name} was changed")
        _warn(request, found)
        return redirect(found)
    refusal = "" if form.is_bound else _refuses_source(request, found)
    context = {"form": form, "stack": found, "refusal": refusal}
    return render(request, "stacks/setup/change_source.html", context)


def _warn(request: HttpRequest, changed: Stack) -> None:
    """Say what a stack follows from now on that is hardly meant."""
    followed = (changed.repository, changed.branch, changed.project_root)
    for doubt in doubts_about(*followed, stack=changed):
        messages.warning(request, doubt)


def _follow(request: HttpRequest, found: Stack, form: IntegrateVcsForm) -> bool:
    """Store what the form says; on False the form says what the stack holds meanwhile.

    The form asked the provider, and in that time an admin may have stored what the code can read.
    """
    with transaction.atomic():
        held = _held(found)
        is_same = form.columns == {"repository": held.repository, "branch": held.branch}
        if not is_same and (refusal := _refuses_source(request, held)):
            form.add_error(None, refusal)
            return False
        held.follow(**form.columns)
        record(request, Verb.STACK_CHANGED, held, f"{held.repository}, branch {held.branch}")
    found.refresh_from_db()
    return True


def _held(found: Stack) -> Stack:
    """Return a stack as it is now, locked until the transaction ends.

    Meanwhile nobody stores in it what its code can read, and no worker begins a run of it. The
    order is that of `Stack.follow`.
    """
    Repository.objects.select_for_update().get(pk=found.repository_id)
    runs = found.runs.exclude(state__in=ENDED).order_by("pk")
    list(runs.select_for_update(no_key=True).values_list("pk"))
    locked = Stack.objects.select_for_update(no_key=True)
    get_object_or_404(locked, pk=found.pk)
    return Stack.objects.with_repository().get(pk=found.pk)


def _refuses_source(request: HttpRequest, found: Stack) -> str:
    """Say why somebody may not choose whose code a stack runs; empty if they may."""
    held = "" if is_admin(request) else held_by(found)
    return held and (
        f"This stack holds {held}, which the code that it runs can read. Only an admin may change "
        f"its repository, branch or project root. Ask an admin of Stackhook."
    )


def _refuses_root(found: Stack) -> str:
    """Say why no other folder can be chosen now: a plan is applied where it was made."""
    busy = found.runs.filter(state__in=UNDER_WAY).first()
    return f"{busy} {busy.state_clause}: change the project root once it has ended." if busy else ""


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def delete_stack(request: HttpRequest, slug: str) -> HttpResponse:
    """Delete a stack and its state, once its name is typed; admins and its owner may."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    if not is_admin(request) and found.owner_id != request.user.pk:
        raise PermissionDenied(
            "Only admins and the owner of a stack may delete it, because that deletes its state, "
            "too. Ask an admin of Stackhook."
        )
    form = DeleteStackForm(request.POST if request.method == "POST" else None, found)
    if not form.is_valid():
        context = {
            "form": form,
            "stack": found,
            "newest_state": found.state_versions.first(),
            "grants": list(found.state_grants.select_related("reader")),
            "after": list(found.dependents.select_related("stack")),
        }
        return render(request, "stacks/setup/delete_stack.html", context)
    with transaction.atomic():
        record(request, Verb.STACK_DELETED, found)
        for grant in found.state_grants.select_related("stack", "reader"):
            revoke(grant)  # what its readers read stays masked there
        found.delete()
    messages.success(request, f"Stack {found.name} was deleted")
    return redirect("stacks:list")


def _change(request: HttpRequest, found: Stack, form: NameStackForm) -> bool:
    """Store what the form says; on False the form says that its name was taken meanwhile."""
    labels, project_root = found.labels, found.project_root
    for field, value in form.cleaned_data.items():
        setattr(found, field, value)
    try:
        with transaction.atomic():
            found.save(update_fields=[*form.cleaned_data, "search_text"])
            if found.project_root != project_root:
                Stack.objects.filter(pk=found.pk).forget_drift()
            if is_admin(request) and found.labels != labels:
                follow_labels(found, labels)
            record(request, Verb.STACK_CHANGED, found, "Name and labels")
    except IntegrityError:
        form.add_error("name", NAME_TAKEN)
        return False
    return True
