"""The pages of a stack's environment: its variables, adding, changing and removing one."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts.audit import Verb, record
from stacks.environment import SHORTEST_SECRET, plain_values_of, why_not_named
from stacks.models import Stack, StackVariable
from vcs_integrations.encryption import WrongKey

LONGEST_VALUE = 30_000  # four bytes each fit what Linux takes
TAKEN = "There is a variable of this name. Change that one, or choose a different name."


class VariableForm(forms.Form):
    """What a variable is to say. The value of a secret may be left empty, and then stays."""

    value = forms.CharField(
        label="Value",
        max_length=LONGEST_VALUE,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "autocomplete": "off"}),
        help_text="Spaces and line breaks around it are dropped.",
    )
    is_secret = forms.BooleanField(
        label="Secret",
        required=False,
        help_text="Never shown again, and masked in logs. All values are stored encrypted.",
    )

    def __init__(self, *args: Any, variable: StackVariable | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.was_secret = bool(variable and variable.is_secret)
        if self.was_secret:
            self.fields["value"].required = False
            self.fields["value"].help_text = "It is not shown. Left empty, it stays as it is."

    def clean_value(self) -> str:
        # Browsers send line breaks as \r\n, which a key or certificate is not read with.
        return str(self.cleaned_data["value"]).replace("\r\n", "\n")

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        value, is_secret = data.get("value", ""), data.get("is_secret", False)
        if is_secret and 0 < len(value) < SHORTEST_SECRET:
            self.add_error(
                "value",
                f"A secret needs at least {SHORTEST_SECRET} characters: a shorter one is found "
                f"all over a log, and can't be masked.",
            )
        if self.was_secret and not is_secret and not value and not self.errors:
            self.add_error("value", "Enter the value again to have it shown from now on.")
        return data

    def forget_secret(self) -> None:
        """Let the page not repeat a secret that was typed."""
        if "is_secret" in self.data:
            self.data = {name: text for name, text in self.data.items() if name != "value"}


class NewVariableForm(VariableForm):
    name = forms.CharField(
        label="Name",
        max_length=200,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}
        ),
        help_text="TF_VAR_region gives the code's variable “region” its value.",
    )
    field_order = ("name", "value", "is_secret")

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if reason := why_not_named(name):
            raise forms.ValidationError(reason)
        return name


@require_http_methods(["GET", "HEAD", "POST"])
def environment(request: HttpRequest, slug: str) -> HttpResponse:
    """A stack's variables, and a form that adds one."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    form = NewVariableForm(request.POST if request.method == "POST" else None)
    if form.is_valid() and _add(request, found, form):
        return redirect("environment", slug)
    form.forget_secret()
    try:
        plain_values, failure = plain_values_of(found), ""
    except WrongKey as error:
        plain_values, failure = {}, str(error)
    variables = found.variables.defer("value")
    context = {
        "stack": found,
        "form": form,
        "rows": [(variable, plain_values.get(variable.name)) for variable in variables],
        "failure": failure,
    }
    return render(request, "stacks/environment.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def change_variable(request: HttpRequest, slug: str, variable_pk: int) -> HttpResponse:
    variable = _variable(slug, variable_pk)
    try:
        value = plain_values_of(variable.stack).get(variable.name, "")
    except WrongKey as error:
        messages.error(request, str(error))
        value = ""
    form = VariableForm(
        request.POST if request.method == "POST" else None,
        variable=variable,
        initial={"value": value, "is_secret": variable.is_secret},
    )
    if form.is_valid():
        # An empty value is that of a secret which stays.
        changes = {name: to for name, to in form.cleaned_data.items() if to != ""}
        said = f"{variable.name} was changed"
        with transaction.atomic():
            StackVariable.objects.filter(pk=variable.pk).update(**changes)
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
        variable.delete()
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
