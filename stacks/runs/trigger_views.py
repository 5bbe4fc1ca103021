"""The page on which a person triggers a run."""

from typing import cast

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.models import User
from accounts.roles import members_only
from stacks.lifecycle.triggering import NotTriggered, head_of, trigger
from stacks.models import Run, Stack
from stacks.rules.states import Kind, Operation, Origin
from stacks.runs.trigger_forms import TriggerForm
from stacks.sources.heads import read_head
from stacks.tfstate.resources import addresses_in_state
from vcs_integrations.providers.events import RemoteCommit


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
def trigger_run(request: HttpRequest, slug: str) -> HttpResponse:
    """Show what can be run, and start it with a POST; what was typed stays until then."""
    stack = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    resources = addresses_in_state(stack)
    typed = request.POST if request.method == "POST" else None
    form = TriggerForm(typed, stack=stack, resources=resources)
    refusal: NotTriggered | None = None
    if form.is_valid():
        try:
            run = _trigger(request, stack, form)
        except NotTriggered as error:
            refusal = error
        else:
            messages.success(request, f"{run} was triggered")
            return redirect(run)
    context = {
        "stack": stack,
        "form": form,
        "refusal": refusal,
        "knows_resources": resources is not None,
    }
    return render(request, "stacks/runs/trigger_run.html", context)


def _trigger(request: HttpRequest, stack: Stack, form: TriggerForm) -> Run:
    """Start the run that a form asks for. Raises NotTriggered."""
    data = form.cleaned_data
    commit = form.found or _head(stack, request.POST.get("head", ""))
    with transaction.atomic():
        run = trigger(
            stack,
            Kind(data["kind"]),
            commit,
            origin=Origin.PERSON,
            operation=Operation(data["operation"]),
            targets=data["targets"],
            replacements=data["replacements"],
            person=cast(User, request.user),
            branch=data["branch"],
            note=data["note"],
        )
        record(request, Verb.RUN_TRIGGERED, run, _in_words(run), name=f"{run} of {stack}")
    return run


def _head(stack: Stack, shown: str) -> RemoteCommit:
    """Return the head commit as it is now. Raises NotTriggered if the page showed another one."""
    if stack.is_detached:
        raise NotTriggered("The stack is detached, so its runs wait. Attach it first.")
    if failure := read_head(stack):
        raise NotTriggered(f"The head commit could not be read. {failure}")
    stack.refresh_from_db()
    if stack.branch_gone_at:
        raise NotTriggered(f"The tracked branch {stack.branch} is gone.")
    if stack.head_sha != shown:
        raise NotTriggered(
            f"The head of {stack.branch} is {stack.head_sha[:8]} {stack.head_title} by now. If "
            f"that is what you want to run, trigger it again."
        )
    return head_of(stack)


def _in_words(run: Run) -> str:
    """Say what a run does, for the audit log."""
    is_drift = run.kind == Kind.DRIFT
    parts = ["Drift detection" if is_drift else run.get_operation_display()]
    if run.targets:
        parts.append(f"targets {', '.join(run.targets)}")
    if run.replacements:
        parts.append(f"replaces {', '.join(run.replacements)}")
    return "; ".join([*parts, *filter(None, [run.note])])
