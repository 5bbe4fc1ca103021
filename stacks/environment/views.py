"""The pages of a stack's environment: what its runs find, and its own variables and files."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.roles import is_admin, members_only
from core.encryption import WrongKey
from stacks.environment.destinations import DestinationsForm, destinations_of, with_stack
from stacks.environment.forms import (
    ChangedVariableForm,
    NewFileForm,
    NewVariableForm,
    VariableForm,
)
from stacks.environment.merging import Found, Merged, found_in, merge
from stacks.environment.names import why_not_named
from stacks.environment.variables import (
    change,
    held_for_providers,
    plain_value_of,
    remove,
    why_only_admins_set,
    why_only_admins_uncover,
)
from stacks.models import Attachment, Runs, SharedVariable, Stack, StackVariable
from stacks.rules.states import Kind


@require_http_methods(["GET", "HEAD", "POST"])
@with_stack
def environment(request: HttpRequest, stack: Stack) -> HttpResponse:
    """All that a stack's runs find, and a form that adds a variable."""
    data = request.POST if request.method == "POST" else None
    form = NewVariableForm(data, stack, reader_is_admin=is_admin(request))
    confirmation = _confirmation(form, stack)
    if form.is_valid() and _is_confirmed(form, confirmation):
        return _add(request, stack, form, confirmation)
    form.forget_secret()
    found = found_in(stack)
    values, failure = values_to_show(found)
    context = {
        "stack": stack,
        "form": form,
        "confirmation": confirmation,
        "held": "" if form.reader_is_admin else held_for_providers(stack),
        "rows": [(one, values.get(one.found.pk)) for one in merge(found)],
        "failure": failure,
        "for_proposed": _read_by_proposed(merge(found)),
        "not_allowed": [
            one.name
            for one in found
            if not one.attachment and not one.is_file and why_not_named(one.name)
        ],
        "attachments": Attachment.objects.filter(stack=stack).in_order(),
    }
    return render(request, "stacks/environment/environment.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@with_stack
def add_file(request: HttpRequest, stack: Stack) -> HttpResponse:
    """Add a file that a stack's runs find."""
    data = request.POST if request.method == "POST" else None
    form = NewFileForm(data, stack, reader_is_admin=is_admin(request))
    confirmation = _confirmation(form, stack)
    if form.is_valid() and _is_confirmed(form, confirmation):
        return _add(request, stack, form, confirmation)
    form.forget_secret()
    held = "" if form.reader_is_admin else held_for_providers(stack)
    context = {"stack": stack, "form": form, "confirmation": confirmation, "held": held}
    return render(request, "stacks/environment/add_file.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@with_stack
def change_variable(request: HttpRequest, stack: Stack, variable_pk: int) -> HttpResponse:
    variable = _variable(stack, variable_pk)
    form = changed_variable_form(request, stack, variable)
    confirmation = _confirmation(form, stack, variable)
    if form.is_valid() and _is_confirmed(form, confirmation):
        said = said_of_change(form, variable)
        checked = {"is_checked": form.reader_is_admin} if "value" in form.changes else {}
        change(variable, form.changes | checked)
        _record(request, stack, form, confirmation, said)
        return redirect("stacks:environment", stack.slug)
    form.forget_secret()
    refusal = ""
    if request.method != "POST" and not form.reader_is_admin:
        refusal = why_only_admins_set(stack, variable.name, variable, is_file=variable.is_file)
    context = {
        "stack": stack,
        "variable": variable,
        "form": form,
        "confirmation": confirmation,
        "refusal": refusal,
    }
    return render(request, "stacks/environment/change_variable.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@with_stack
def remove_variable(request: HttpRequest, stack: Stack, variable_pk: int) -> HttpResponse:
    variable = _variable(stack, variable_pk)
    refusal = "" if is_admin(request) else why_only_admins_uncover(stack, variable, None)
    if request.method != "POST" or refusal:
        context = {"stack": stack, "variable": variable, "refusal": refusal}
        return render(request, "stacks/environment/remove_variable.html", context)
    said = f"{variable.name} was removed"
    remove(variable)
    record(request, Verb.ENVIRONMENT_CHANGED, stack, said)
    messages.success(request, said)
    return redirect("stacks:environment", stack.slug)


def values_to_show(found: list[Found]) -> tuple[dict[int, str], str]:
    """Return what may be shown, by primary key, and why some of it can't be read."""
    values, failure = {}, ""
    for one in found:
        if one.is_secret:
            continue
        try:
            values[one.pk] = one.open()
        except WrongKey as error:
            failure = failure or str(error)
    return values, failure


def changed_variable_form(
    request: HttpRequest, owner: Any, variable: StackVariable | SharedVariable
) -> ChangedVariableForm:
    """Return the form that changes a variable, with its value if that is shown."""
    try:
        value = plain_value_of(variable)
    except WrongKey as error:
        messages.error(request, str(error))
        value = None
    data = request.POST if request.method == "POST" else None
    return ChangedVariableForm(data, owner, variable, value, reader_is_admin=is_admin(request))


def said_of_change(form: ChangedVariableForm, variable: StackVariable | SharedVariable) -> str:
    """Return a sentence on what a form changes, for people and for the audit log."""
    said = f"{variable.name} was changed"
    is_secret = form.cleaned_data["is_secret"]
    finds = is_secret and Runs(form.changes["runs"]).includes(Kind.PROPOSED)
    found = variable.is_secret and Runs(variable.runs).includes(Kind.PROPOSED)
    return f"{said}: proposed runs find it from now on" if finds and not found else said


def _variable(stack: Stack, pk: int) -> StackVariable:
    """Return a variable of a stack without its value, which takes the right key to load."""
    return get_object_or_404(stack.variables.defer("value"), pk=pk)


def _read_by_proposed(merged: list[Merged]) -> list[str]:
    """Return the names of the secrets that proposed runs find."""
    return [one.found.name for one in merged if one.found.is_secret and Kind.PROPOSED in one.kinds]


def _add(
    request: HttpRequest, stack: Stack, form: NewVariableForm, confirmation: DestinationsForm
) -> HttpResponse:
    added = {"is_checked": form.reader_is_admin, "is_file": form.is_file} | form.cleaned_data
    StackVariable.objects.create(stack=stack, **added)
    _record(request, stack, form, confirmation, f"{form.cleaned_data['name']} was added")
    return redirect("stacks:environment", stack.slug)


def _confirmation(
    form: VariableForm, stack: Stack, variable: StackVariable | None = None
) -> DestinationsForm:
    """Return the confirmation that belongs to a form, which is read only if it sets a secret."""
    destinations = destinations_of(stack, variable)
    return DestinationsForm(form.data if form.sets_secret else None, destinations, "secret")


def _is_confirmed(form: VariableForm, confirmation: DestinationsForm) -> bool:
    return not form.sets_secret or confirmation.is_valid()


def _record(
    request: HttpRequest,
    stack: Stack,
    form: VariableForm,
    confirmation: DestinationsForm,
    said: str,
) -> None:
    """Say what was done, to the person who did it and in the audit log."""
    note = said
    if form.sets_secret:
        note = confirmation.confirm(said, reader_is_admin=form.reader_is_admin)
    record(request, Verb.ENVIRONMENT_CHANGED, stack, note)
    messages.success(request, said)
