"""The pages of a stack's environment: its variables, adding, changing and removing one."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.roles import is_admin
from core.encryption import WrongKey
from stacks.environment.destinations import DestinationsForm, destinations_of, with_stack
from stacks.environment.variables import (
    SHORTEST_SECRET,
    change,
    held_for_providers,
    plain_values_of,
    remove,
    why_not_named,
    why_only_admins_set,
)
from stacks.models import Stack, StackVariable

LONGEST_VALUE = 30_000  # four bytes each fit what Linux takes
TAKEN = "A variable with this name exists. Change it, or choose a different name."


class ValueField(forms.CharField):
    """A value, byte for byte as it was entered: a private key is not read without its last line."""

    widget = forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "autocomplete": "off"})
    default_error_messages = {
        "null_characters_not_allowed": "A variable can't contain a null character. Remove it, or "
        "enter the value in base64 and decode it in the code.",
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=LONGEST_VALUE, strip=False, required=False, **kwargs)

    def to_python(self, value: Any) -> str:
        if value is None:  # not sent at all, which empties nothing
            raise forms.ValidationError(self.error_messages["required"], code="required")
        # Browsers send each line break as \r\n, whatever was pasted.
        return str(super().to_python(value)).replace("\r\n", "\n")


class VariableForm(forms.Form):
    """What a variable is to say. The value of a secret may be left empty, and then stays."""

    value = ValueField(
        label="Value",
        help_text="Kept exactly as entered, with spaces and line breaks around it, and may be "
        "empty. Line breaks become those of Unix.",
    )
    is_secret = forms.BooleanField(
        label="Secret",
        required=False,
        help_text=f"Never shown again, and masked in logs and plans. In JSON, HCL and the like, "
        f"each value of at least {SHORTEST_SECRET} characters is masked separately. All values are "
        f"stored encrypted.",
    )

    is_for_proposed = forms.BooleanField(
        label="Available to proposed runs",
        required=False,
        help_text="Only for secrets; proposed runs find every other variable anyway. Careful: "
        "whoever can open a pull request can then read the secret, before anybody has reviewed "
        "the code.",
    )

    was_secret = False

    def restrict(self, stack: Stack, *, reader_is_admin: bool) -> None:
        """Reserve for admins what could reveal secrets."""
        self.stack, self.reader_is_admin = stack, reader_is_admin
        if not reader_is_admin:
            del self.fields["is_for_proposed"]

    @property
    def sets_secret(self) -> bool:
        """Whether the value of a secret was sent, not only that a secret stays one."""
        stays = self.was_secret and not self.data.get("value")
        return "is_secret" in self.data and not stays

    def refuse_what_admins_set(self, name: str, variable: StackVariable | None = None) -> None:
        """Raise ValidationError where a member's variable could send elsewhere what is held."""
        if self.reader_is_admin:
            return
        if reason := why_only_admins_set(self.stack, name, variable):
            raise forms.ValidationError(reason)

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        value, is_secret = data.get("value", ""), data.get("is_secret", False)
        if not is_secret:  # should it be one again, that is for tracked runs
            data["is_for_proposed"] = False
        if "value" in self.errors:
            return data
        if self.was_secret and not value:
            if not is_secret:
                self.add_error(
                    "value",
                    "Enter the value to show from now on. For an empty value, remove the variable "
                    "and add it again.",
                )
        elif is_secret and len(value.strip()) < SHORTEST_SECRET:
            self.add_error(
                "value",
                f"A secret needs at least {SHORTEST_SECRET} characters, not counting spaces around "
                f"it: a shorter one is found all over a log, and can't be masked. Clear “Secret” "
                f"to enter a short or empty value.",
            )
        return data

    def forget_secret(self) -> None:
        """Let the page not repeat a secret that was typed."""
        if "is_secret" in self.data:
            self.data = {name: text for name, text in self.data.items() if name != "value"}


class ChangedVariableForm(VariableForm):
    """`value` is what a variable says now; None if that is not shown or can't be read."""

    def __init__(self, data: QueryDict | None, variable: StackVariable, value: str | None) -> None:
        initial = {
            "value": value or "",
            "is_secret": variable.is_secret,
            "is_for_proposed": variable.is_for_proposed,
        }
        super().__init__(data, initial=initial)
        self.variable = variable
        self.was_secret = variable.is_secret
        if self.was_secret:
            self.fields["value"].help_text = "It is not shown. Left empty, it stays as it is."
        else:
            # Nobody empties what can't be read by opening the page and saving it.
            self.fields["value"].required = value is None

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        name = self.variable.name
        if reason := why_not_named(name):
            raise forms.ValidationError(f"{reason} This variable stays until it is removed.")
        self.refuse_what_admins_set(name, self.variable)
        return data

    @property
    def changes(self) -> dict[str, Any]:
        """The fields to store; without the value of a secret that was left empty."""
        if self.was_secret and not self.cleaned_data["value"]:
            return {name: data for name, data in self.cleaned_data.items() if name != "value"}
        return self.cleaned_data | {"is_checked": self.reader_is_admin}


class NewVariableForm(VariableForm):
    name = forms.CharField(
        label="Name",
        max_length=200,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}
        ),
        help_text="TF_VAR_region gives the code's variable “region” its value.",
    )
    field_order = ("name", "value", "is_secret", "is_for_proposed")

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if reason := why_not_named(name):
            raise forms.ValidationError(reason)
        if self.stack.variables.filter(name=name).exists():
            raise forms.ValidationError(TAKEN)
        self.refuse_what_admins_set(name)
        return name


@require_http_methods(["GET", "HEAD", "POST"])
@with_stack
def environment(request: HttpRequest, stack: Stack) -> HttpResponse:
    """A stack's variables, and a form that adds one."""
    form = NewVariableForm(request.POST if request.method == "POST" else None)
    form.restrict(stack, reader_is_admin=is_admin(request))
    confirmation = _confirmation(form)
    if form.is_valid() and _is_confirmed(form, confirmation):
        added = {"is_checked": form.reader_is_admin} | form.cleaned_data
        StackVariable.objects.create(stack=stack, **added)
        said = f"{form.cleaned_data['name']} was added"
        _record(request, form, confirmation, said)
        return redirect("stacks:environment", stack.slug)
    form.forget_secret()
    try:
        plain_values, failure = plain_values_of(stack), ""
    except WrongKey as error:
        plain_values, failure = {}, str(error)
    variables = list(stack.variables.defer("value"))
    context = {
        "stack": stack,
        "form": form,
        "confirmation": confirmation,
        "held": "" if form.reader_is_admin else held_for_providers(stack),
        "rows": [(variable, plain_values.get(variable.name)) for variable in variables],
        "failure": failure,
        "for_proposed": [one.name for one in variables if one.is_secret and one.is_for_proposed],
        "not_allowed": [one.name for one in variables if why_not_named(one.name)],
    }
    return render(request, "stacks/environment/environment.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@with_stack
def change_variable(request: HttpRequest, stack: Stack, variable_pk: int) -> HttpResponse:
    variable = _variable(stack, variable_pk)
    try:
        value = plain_values_of(stack).get(variable.name)
    except WrongKey as error:
        messages.error(request, str(error))
        value = None
    data = request.POST if request.method == "POST" else None
    form = ChangedVariableForm(data, variable, value)
    form.restrict(stack, reader_is_admin=is_admin(request))
    confirmation = _confirmation(form, variable)
    if form.is_valid() and _is_confirmed(form, confirmation):
        said = f"{variable.name} was changed"
        if form.cleaned_data.get("is_for_proposed") and not variable.is_for_proposed:
            said = f"{said}: proposed runs find it from now on"
        change(variable, form.changes)
        _record(request, form, confirmation, said)
        return redirect("stacks:environment", stack.slug)
    form.forget_secret()
    refusal = ""
    if request.method != "POST" and not form.reader_is_admin:
        refusal = why_only_admins_set(stack, variable.name, variable)
    context = {
        "stack": stack,
        "variable": variable,
        "form": form,
        "confirmation": confirmation,
        "refusal": refusal,
    }
    return render(request, "stacks/environment/change_variable.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@with_stack
def remove_variable(request: HttpRequest, stack: Stack, variable_pk: int) -> HttpResponse:
    variable = _variable(stack, variable_pk)
    if request.method != "POST":
        context = {"stack": stack, "variable": variable}
        return render(request, "stacks/environment/remove_variable.html", context)
    said = f"{variable.name} was removed"
    remove(variable)
    record(request, Verb.ENVIRONMENT_CHANGED, stack, said)
    messages.success(request, said)
    return redirect("stacks:environment", stack.slug)


def _variable(stack: Stack, pk: int) -> StackVariable:
    """Return a variable of a stack without its value, which takes the right key to load."""
    return get_object_or_404(stack.variables.defer("value"), pk=pk)


def _confirmation(form: VariableForm, variable: StackVariable | None = None) -> DestinationsForm:
    """Return the confirmation that belongs to a form, which is read only if it sets a secret."""
    destinations = destinations_of(form.stack, variable)
    return DestinationsForm(form.data if form.sets_secret else None, destinations, "secret")


def _is_confirmed(form: VariableForm, confirmation: DestinationsForm) -> bool:
    return not form.sets_secret or confirmation.is_valid()


def _record(
    request: HttpRequest, form: VariableForm, confirmation: DestinationsForm, said: str
) -> None:
    """Say what was done, to the person who did it and in the audit log."""
    note = said
    if form.sets_secret:
        note = confirmation.confirm(said, reader_is_admin=form.reader_is_admin)
    record(request, Verb.ENVIRONMENT_CHANGED, form.stack, note)
    messages.success(request, said)
