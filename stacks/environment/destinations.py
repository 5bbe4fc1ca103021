"""Confirm where the variables of a stack send a secret or a state, before it is stored.

While a stack holds neither, members may set any variable, including one that sends elsewhere what
is stored later. So whoever stores a secret or a first state sees those that no admin has set, and
confirms them.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django import forms
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from core.encryption import WrongKey
from stacks.environment.variables import is_input
from stacks.models import Stack, StackVariable

P = ParamSpec("P")


@dataclass(frozen=True)
class Destination:
    """A variable that may decide where secrets are sent.

    `value` is None where it is secret, or can't be decrypted.
    """

    pk: int
    name: str
    is_secret: bool
    value: str | None


@dataclass(frozen=True)
class Destinations:
    """Such variables, and a digest that changes whenever one of them is stored or removed."""

    variables: list[Destination]
    digest: str

    @property
    def names(self) -> str:
        return ", ".join(one.name for one in self.variables)


def destinations_of(stack: Stack, besides: StackVariable | None = None) -> Destinations:
    """Return what is confirmed before a stack gets a secret or its first state.

    These are the variables that no admin has set or confirmed; `besides` is one that doesn't count.
    An existing secret doesn't make this unnecessary: a member may have stored it just for that.
    """
    variables = stack.variables.filter(is_checked=False)
    if besides:
        variables = variables.exclude(pk=besides.pk)
    fields = ("pk", "name", "is_secret", "value")
    found = [one for one in variables.values_list(*fields, named=True) if not is_input(one.name)]
    # A value is encrypted differently each time it is stored, so its digest reveals nothing.
    said = [(one.name, one.is_secret, one.value.stored.hex()) for one in found]
    return Destinations(
        [Destination(one.pk, one.name, one.is_secret, _shown(one)) for one in found],
        hashlib.sha256(json.dumps(said).encode()).hexdigest(),
    )


def _shown(variable: Any) -> str | None:
    if variable.is_secret:
        return None
    try:
        return str(variable.value.open(variable.pk))
    except WrongKey:
        return None


class DestinationsForm(forms.Form):
    """The check box that confirms where `what`, "secret" or "state", is sent.

    It counts for what the page showed, and is needed only where there is something to show.
    """

    confirmed = forms.BooleanField(required=False)

    def __init__(
        self, data: Mapping[str, Any] | None, destinations: Destinations, what: str
    ) -> None:
        super().__init__(data)
        self.destinations, self.what = destinations, what
        self.fields["confirmed"].label = f"I checked where these variables send the {what}"
        if what == "secret":
            self.fields["confirmed"].help_text = "Needed only if Secret is checked."

    def clean(self) -> dict[str, Any]:
        if reason := self._why_not_confirmed():
            # The page then shows the box unchecked.
            self.data = {}
            self.add_error("confirmed", reason)
        return self.cleaned_data

    def confirm(self, note: str, *, reader_is_admin: bool) -> str:
        """Remember what an admin confirmed, and return the note with what was confirmed."""
        if not self.destinations.variables:
            return note
        if reader_is_admin:
            keys = [one.pk for one in self.destinations.variables]
            StackVariable.objects.filter(pk__in=keys).update(is_checked=True)
        return f"{note}; confirmed where the {self.what} is sent: {self.destinations.names}"

    def _why_not_confirmed(self) -> str:
        variables = self.destinations.variables
        if not variables:
            return ""
        # A page doesn't repeat a secret.
        again = " and enter the secret again" if self.what == "secret" else ""
        if not self.cleaned_data.get("confirmed"):
            return (
                f"The {self.what} was not stored, as these variables can send it elsewhere. Check "
                f"their values, then check this box{again}."
            )
        if self.data.get("destinations") != self.destinations.digest:
            return (
                f"The {self.what} was not stored, as these variables were changed after you opened "
                f"the page. Check their values again, then check this box{again}."
            )
        if hidden := [one.name for one in variables if one.value is None and not one.is_secret]:
            return (
                f"The {self.what} was not stored, as {', '.join(hidden)} can't be read. Enter the "
                f"value there again or remove the variable first."
            )
        return ""


def with_stack(
    view: Callable[Concatenate[HttpRequest, Stack, P], HttpResponse],
) -> Callable[..., HttpResponse]:
    """Give a view the stack that its URL names; for a POST, locked until the view returns.

    Meanwhile nobody else changes what the form is checked against: the variables and the state.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, slug: str, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        stacks = Stack.objects.with_repository()
        if request.method != "POST":
            return view(request, get_object_or_404(stacks, slug=slug), *args, **kwargs)
        with transaction.atomic():
            locked = stacks.select_for_update(of=("self",))
            return view(request, get_object_or_404(locked, slug=slug), *args, **kwargs)

    return wrapper
