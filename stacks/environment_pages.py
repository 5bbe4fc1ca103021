"""The pages of a stack's environment: its variables, adding, changing and removing one."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts.audit import Verb, record
from accounts.roles import is_admin
from stacks.environment import (
    SHORTEST_SECRET,
    change,
    leads_elsewhere,
    plain_values_of,
    remove,
    why_not_named,
)
from stacks.models import Stack, StackVariable
from vcs_integrations.encryption import WrongKey

LONGEST_VALUE = 30_000  # four bytes each fit what Linux takes
TAKEN = "There is a variable of this name. Change that one, or choose a different name."


class ValueField(forms.CharField):
    """A value, byte for byte as it was entered: a private key is not read without its last line."""

    widget = forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "autocomplete": "off"})
    default_error_messages = {
        "null_characters_not_allowed": "No environment takes a null character. Remove it, or enter "
        "the value in base64 and decode it in the code.",
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
        f"each value of at least {SHORTEST_SECRET} characters is masked by itself. All values are "
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
        """Leave to admins what gives secrets away."""
        self.stack, self.reader_is_admin = stack, reader_is_admin
        if not reader_is_admin:
            del self.fields["is_for_proposed"]

    def refuse_leading_elsewhere(self, name: str) -> None:
        """Raise ValidationError where a variable could lead the stack's secrets elsewhere."""
        if self.reader_is_admin or not leads_elsewhere(name):
            return
        if self.stack.variables.filter(is_secret=True).exclude(name=name).exists():
            raise forms.ValidationError(
                f"{name} can decide where this stack's secrets are sent, so only an admin may set "
                f"it. Ask an admin of Stackhook."
            )

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
    """`value` is what a variable says now; None where that is not shown or can't be read."""

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
        self.refuse_leading_elsewhere(name)
        return data

    @property
    def changes(self) -> dict[str, Any]:
        """The fields to store; without the value of a secret that was left empty."""
        stays = self.was_secret and not self.cleaned_data["value"]
        changes = {name: data for name, data in self.cleaned_data.items() if name != "value"}
        return changes if stays else self.cleaned_data


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
        self.refuse_leading_elsewhere(name)
        return name


@require_http_methods(["GET", "HEAD", "POST"])
def environment(request: HttpRequest, slug: str) -> HttpResponse:
    """A stack's variables, and a form that adds one."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    form = NewVariableForm(request.POST if request.method == "POST" else None)
    form.restrict(found, reader_is_admin=is_admin(request))
    if form.is_valid() and _add(request, found, form):
        return redirect("environment", slug)
    form.forget_secret()
    try:
        plain_values, failure = plain_values_of(found), ""
    except WrongKey as error:
        plain_values, failure = {}, str(error)
    variables = list(found.variables.defer("value"))
    context = {
        "stack": found,
        "form": form,
        "rows": [(variable, plain_values.get(variable.name)) for variable in variables],
        "failure": failure,
        "for_proposed": [one.name for one in variables if one.is_secret and one.is_for_proposed],
        "not_allowed": [one.name for one in variables if why_not_named(one.name)],
    }
    return render(request, "stacks/environment.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def change_variable(request: HttpRequest, slug: str, variable_pk: int) -> HttpResponse:
    variable = _variable(slug, variable_pk)
    try:
        value = plain_values_of(variable.stack).get(variable.name)
    except WrongKey as error:
        messages.error(request, str(error))
        value = None
    data = request.POST if request.method == "POST" else None
    form = ChangedVariableForm(data, variable, value)
    form.restrict(variable.stack, reader_is_admin=is_admin(request))
    if form.is_valid():
        said = f"{variable.name} was changed"
        if form.cleaned_data.get("is_for_proposed") and not variable.is_for_proposed:
            said = f"{said}: proposed runs find it from now on"
        with transaction.atomic():
            change(variable, form.changes)
            record(request, Verb.ENVIRONMENT_CHANGED, variable.stack, said)
        messages.success(request, said)
        return redirect("environment", slug)
    form.forget_secret()
    context = {"stack": variable.stack, "variable": variable, "form": form}
    return render(request, "stacks/change_variable.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def remove_variable(request: HttpRequest, slug: str, variable_pk: int) -> HttpResponse:
    variable = _variable(slug, variable_pk)
    if request.method != "POST":
        context = {"stack": variable.stack, "variable": variable}
        return render(request, "stacks/remove_variable.html", context)
    said = f"{variable.name} was removed"
    with transaction.atomic():
        remove(variable)
        record(request, Verb.ENVIRONMENT_CHANGED, variable.stack, said)
    messages.success(request, said)
    return redirect("environment", slug)


def _variable(slug: str, pk: int) -> StackVariable:
    """Return a variable of a stack without its value, which takes the right key to load."""
    variables = StackVariable.objects.select_related("stack").defer("value")
    return get_object_or_404(variables, stack__slug=slug, pk=pk)


def _add(request: HttpRequest, stack: Stack, form: NewVariableForm) -> bool:
    """Store a new variable; on False the form says that there is one of its name."""
    said = f"{form.cleaned_data['name']} was added"
    try:
        with transaction.atomic():
            StackVariable.objects.create(stack=stack, **form.cleaned_data)
            record(request, Verb.ENVIRONMENT_CHANGED, stack, said)
    except IntegrityError:
        form.add_error("name", TAKEN)
        return False
    messages.success(request, said)
    return True
