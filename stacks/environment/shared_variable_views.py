"""The pages of a shared environment's variables and files, and attaching it to a stack."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.roles import admin_required, is_admin
from stacks.environment import attaching
from stacks.environment.destinations import (
    DestinationsForm,
    ReachForm,
    destinations_of_all,
    with_stack,
)
from stacks.environment.forms import NewFileForm, NewVariableForm, VariableForm
from stacks.environment.merging import found_of, merge
from stacks.environment.shared_forms import AttachForm
from stacks.environment.shared_views import METHODS, holding_environments, with_environment
from stacks.environment.variables import change, remove
from stacks.environment.views import changed_variable_form, said_of_change, values_to_show
from stacks.models import Attachment, SharedEnvironment, SharedVariable, Stack


@require_http_methods(["GET", "HEAD"])
@with_environment
def shared_environment(request: HttpRequest, environment: SharedEnvironment) -> HttpResponse:
    """What a shared environment holds, and which stacks have it."""
    found = found_of(environment)
    values, failure = values_to_show(found)
    attached = set(environment.attachments.values_list("stack", flat=True))
    context = {
        "environment": environment,
        "rows": [(one, values.get(one.found.pk)) for one in merge(found)],
        "failure": failure,
        "attachments": environment.attachments.select_related(
            "stack__repository__integration"
        ).order_by("stack__name"),
        "left_out": [
            one for one in attaching.stacks_with(environment.labels) if one.pk not in attached
        ],
    }
    return render(request, "stacks/environment/shared_environment.html", context)


@require_http_methods(METHODS)
@admin_required
@with_environment
def add_shared_variable(request: HttpRequest, environment: SharedEnvironment) -> HttpResponse:
    return _add(request, environment, NewVariableForm)


@require_http_methods(METHODS)
@admin_required
@with_environment
def add_shared_file(request: HttpRequest, environment: SharedEnvironment) -> HttpResponse:
    return _add(request, environment, NewFileForm)


@require_http_methods(METHODS)
@admin_required
@with_environment
def change_shared_variable(
    request: HttpRequest, environment: SharedEnvironment, shared_pk: int
) -> HttpResponse:
    variable = _variable(environment, shared_pk)
    form = changed_variable_form(request, environment, variable)
    confirmation = _confirmation(form, environment)
    if form.is_valid() and _is_confirmed(form, confirmation):
        said = said_of_change(form, variable)
        change(variable, form.changes)
        _record(request, environment, form, confirmation, said)
        return redirect(environment)
    form.forget_secret()
    context = {
        "environment": environment,
        "variable": variable,
        "form": form,
        "confirmation": confirmation,
    }
    return render(request, "stacks/environment/change_shared_variable.html", context)


@require_http_methods(METHODS)
@admin_required
@with_environment
def remove_shared_variable(
    request: HttpRequest, environment: SharedEnvironment, shared_pk: int
) -> HttpResponse:
    variable = _variable(environment, shared_pk)
    if request.method != "POST":
        context = {"environment": environment, "variable": variable, "stacks": environment.stacks}
        return render(request, "stacks/environment/remove_shared_variable.html", context)
    said = f"{variable.name} was removed"
    remove(variable)
    record(request, Verb.SHARED_ENVIRONMENT_CHANGED, environment, said)
    messages.success(request, said)
    return redirect(environment)


@require_http_methods(METHODS)
@admin_required
@holding_environments
@with_stack
def attach_environment(request: HttpRequest, stack: Stack) -> HttpResponse:
    """Attach a shared environment to a stack by hand."""
    data = request.POST if request.method == "POST" else None
    form = AttachForm(data, stack)
    confirmation = ReachForm(data, destinations_of_all([]), "secrets")
    if form.is_valid():
        environment: SharedEnvironment = form.cleaned_data["environment"]
        if environment.is_secret:
            confirmation = ReachForm(data, destinations_of_all([stack], [stack]), "secrets")
        if confirmation.is_valid():
            attaching.attach(environment, stack)
            note = confirmation.confirm(f"Attached {environment}", reader_is_admin=True)
            record(request, Verb.ENVIRONMENT_CHANGED, stack, note)
            messages.success(request, f"{environment} was attached")
            return redirect("stacks:environment", stack.slug)
    context = {"stack": stack, "form": form, "confirmation": confirmation}
    return render(request, "stacks/environment/attach_environment.html", context)


@require_http_methods(METHODS)
@admin_required
@holding_environments
@with_stack
def detach_environment(request: HttpRequest, stack: Stack, environment_pk: int) -> HttpResponse:
    """Take back that a shared environment was attached by hand."""
    by_hand = Attachment.objects.filter(stack=stack, is_by_hand=True).select_related("environment")
    attachment = get_object_or_404(by_hand, environment=environment_pk)
    environment = attachment.environment
    if request.method != "POST":
        context = {"stack": stack, "attachment": attachment}
        return render(request, "stacks/environment/detach_environment.html", context)
    said = f"{environment} was detached"
    if not attaching.detach(environment, stack):
        said = f"{environment} is attached by the label {attachment.label} alone"
    record(request, Verb.ENVIRONMENT_CHANGED, stack, said)
    messages.success(request, said)
    return redirect("stacks:environment", stack.slug)


def _add(
    request: HttpRequest, environment: SharedEnvironment, kind: type[NewVariableForm]
) -> HttpResponse:
    data = request.POST if request.method == "POST" else None
    form = kind(data, environment, reader_is_admin=is_admin(request))
    confirmation = _confirmation(form, environment)
    if form.is_valid() and _is_confirmed(form, confirmation):
        SharedVariable.objects.create(
            environment=environment, is_file=form.is_file, **form.cleaned_data
        )
        said = f"{form.cleaned_data['name']} was added"
        _record(request, environment, form, confirmation, said)
        return redirect(environment)
    form.forget_secret()
    context = {"environment": environment, "form": form, "confirmation": confirmation}
    return render(request, "stacks/environment/add_shared_variable.html", context)


def _variable(environment: SharedEnvironment, pk: int) -> SharedVariable:
    """Return a variable without its value, which takes the right key to load."""
    return get_object_or_404(environment.variables.defer("value"), pk=pk)


def _confirmation(form: VariableForm, environment: SharedEnvironment) -> DestinationsForm:
    """Return the confirmation of where the environment's stacks send a secret that a form sets."""
    destinations = destinations_of_all(environment.stacks.all())
    return DestinationsForm(form.data if form.sets_secret else None, destinations, "secret")


def _is_confirmed(form: VariableForm, confirmation: DestinationsForm) -> bool:
    return not form.sets_secret or confirmation.is_valid()


def _record(
    request: HttpRequest,
    environment: SharedEnvironment,
    form: VariableForm,
    confirmation: DestinationsForm,
    said: str,
) -> None:
    note = confirmation.confirm(said, reader_is_admin=True) if form.sets_secret else said
    record(request, Verb.SHARED_ENVIRONMENT_CHANGED, environment, note)
    messages.success(request, said)
