"""The page of what a stack has to do with the outputs of others, and its forms."""

import re
from typing import Any

from django.contrib import messages
from django.db import IntegrityError, transaction
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from accounts.roles import admin_required, members_only
from core.http import post_or_redirect
from stacks.dependencies.forms import TAKEN, DependencyForm, GrantForm
from stacks.dependencies.graph import Circle, depend
from stacks.dependencies.outputs import revoke
from stacks.environment.destinations import ReachForm, destinations_of_all
from stacks.environment.shared_views import lock_stacks
from stacks.models import Backend, Dependency, DependencyRun, Stack, StateGrant
from stacks.tfstate.backend import address_of

METHODS = ["GET", "HEAD", "POST"]


def _page(slug: str, dependency_pk: int) -> str:
    return reverse("stacks:dependencies", args=[slug])


def _page_of_grant(slug: str, grant_pk: int) -> str:
    return reverse("stacks:dependencies", args=[slug])


@require_safe
def dependencies(request: HttpRequest, slug: str) -> HttpResponse:
    """Which outputs of other stacks a stack reads and runs after, and who reads its own."""
    stack = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    context = {
        "stack": stack,
        "before": _with_last_run(stack),
        "after": stack.dependents.select_related("stack"),
        "reads": [
            (one, data_block(one.stack)) for one in stack.read_grants.select_related("stack")
        ],
        "grants": stack.state_grants.select_related("reader__repository__integration"),
        "keeps_state": stack.backend == Backend.STACKHOOK,
    }
    return render(request, "stacks/dependencies/dependencies.html", context)


def _with_last_run(stack: Stack) -> list[tuple[Dependency, DependencyRun | None]]:
    """Return what a stack runs after, each with what it started last."""
    newest = DependencyRun.objects.filter(dependency=OuterRef("pk")).order_by("-version")
    before: list[Any] = list(  # with what the query adds
        stack.dependencies.select_related("on").annotate(last=Subquery(newest.values("pk")[:1]))
    )
    started = DependencyRun.objects.select_related("run__stack").defer("run__plan", "run__errors")
    found = started.in_bulk([one.last for one in before if one.last])
    return [(one, found.get(one.last)) for one in before]


@require_http_methods(METHODS)
@members_only
def add_dependency(request: HttpRequest, slug: str) -> HttpResponse:
    """Have a stack run after another one."""
    stack = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    form = DependencyForm(request.POST if request.method == "POST" else None, stack)
    if form.is_valid():
        on, outputs = form.cleaned_data["on"], form.cleaned_data["outputs"]
        try:
            with transaction.atomic():
                depend(stack, on, outputs)
                which = f"the outputs {', '.join(outputs)}" if outputs else "any output"
                record(request, Verb.STACK_CHANGED, stack, f"Runs after {on} changed {which}")
        except Circle as error:
            form.add_error("on", str(error))
        except IntegrityError:  # somebody added it at the same moment
            form.add_error("on", TAKEN.format(stack=stack, on=on))
        else:
            messages.success(request, f"{stack} runs after {on}")
            return redirect("stacks:dependencies", slug)
    context = {"stack": stack, "form": form}
    return render(request, "stacks/dependencies/add_dependency.html", context)


@require_http_methods(METHODS)
@post_or_redirect(_page)
def remove_dependency(request: HttpRequest, slug: str, dependency_pk: int) -> HttpResponse:
    found = Dependency.objects.filter(stack__slug=slug).select_related("stack", "on")
    dependency = get_object_or_404(found, pk=dependency_pk)
    with transaction.atomic():
        record(request, Verb.STACK_CHANGED, dependency.stack, f"No longer after {dependency.on}")
        dependency.delete()
    messages.success(request, f"{dependency.stack} no longer runs after {dependency.on}")
    return redirect("stacks:dependencies", slug)


@require_http_methods(METHODS)
@admin_required
@transaction.atomic
def add_grant(request: HttpRequest, slug: str) -> HttpResponse:
    """Let a stack's runs read the outputs of this one, once it is clear whose code that is."""
    stack = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    data = request.POST if request.method == "POST" else None
    form = GrantForm(data, stack)
    confirmation = ReachForm(data, destinations_of_all([]), "outputs")
    if form.is_valid():
        reader: Stack = form.cleaned_data["reader"]
        # Until the grant is stored, nobody sets a variable of the reader that was not checked.
        lock_stacks(Stack.objects.filter(pk__in=[stack.pk, reader.pk]))
        reader = Stack.objects.with_repository().get(pk=reader.pk)
        confirmation = ReachForm(data, destinations_of_all([reader], [reader]), "outputs")
        if confirmation.is_valid():
            runs_read = {"is_for_proposed": form.cleaned_data["is_for_proposed"]}
            StateGrant.objects.get_or_create(stack=stack, reader=reader, defaults=runs_read)
            runs = "all" if form.cleaned_data["is_for_proposed"] else "tracked"
            note = confirmation.confirm(f"{reader}, {runs} runs", reader_is_admin=True)
            record(request, Verb.STATE_GRANTED, stack, note)
            messages.success(request, f"{reader} may read the outputs of {stack}")
            return redirect("stacks:dependencies", stack.slug)
    context = {"stack": stack, "form": form, "confirmation": confirmation}
    return render(request, "stacks/dependencies/add_grant.html", context)


@require_http_methods(METHODS)
@admin_required
@post_or_redirect(_page_of_grant)
def remove_grant(request: HttpRequest, slug: str, grant_pk: int) -> HttpResponse:
    found = StateGrant.objects.filter(stack__slug=slug).select_related("stack", "reader")
    grant = get_object_or_404(found, pk=grant_pk)
    with transaction.atomic():
        record(request, Verb.STATE_REVOKED, grant.stack, str(grant.reader))
        revoke(grant)
    messages.success(request, f"{grant.reader} may no longer read the outputs of {grant.stack}")
    return redirect("stacks:dependencies", slug)


def data_block(stack: Stack) -> str:
    """Return the block with which code reads the outputs of a stack; the run has the password."""
    name = re.sub(r"\W", "_", stack.slug)
    name = name if name[0].isalpha() else f"stack_{name}"
    return (
        f'data "terraform_remote_state" "{name}" {{\n'
        f'  backend = "http"\n'
        f"  config = {{\n"
        f'    address = "{address_of(stack)}"\n'
        f"  }}\n"
        f"}}\n"
    )
