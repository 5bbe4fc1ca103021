"""Confirm where the variables of a stack send a secret or a state, before it is stored.

While a stack holds neither, members may set any variable, including one that sends elsewhere what
is stored later. So whoever stores a secret or a first state sees those that no admin has set, and
confirms them.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django import forms
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from core.encryption import WrongKey
from stacks.environment.names import is_input
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
    """Such variables, and a digest that changes whenever one of them is stored or removed.

    `stacks` are those that would find a secret from now on, where that is confirmed, too.
    """

    variables: list[Destination]
    digest: str
    stacks: list[Stack] = field(default_factory=list)

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
    return _destinations(variables, [])


def destinations_of_all(stacks: Iterable[Stack], new: Iterable[Stack] = ()) -> Destinations:
    """Return what is confirmed before several stacks get a secret, those of which are new, too."""
    variables = StackVariable.objects.filter(stack__in=[one.pk for one in stacks])
    return _destinations(variables.filter(is_checked=False), list(new))


def _destinations(variables: QuerySet[StackVariable], new: list[Stack]) -> Destinations:
    fields = ("pk", "name", "is_file", "is_secret", "value", "stack__name")
    rows = variables.order_by("stack__name", "is_file", "name").values_list(*fields, named=True)
    found = [one for one in rows if one.is_file or not is_input(one.name)]
    is_one_stack = len({one.stack__name for one in found} | {one.name for one in new}) < 2
    # A value is encrypted differently each time it is stored, so its digest reveals nothing.
    said: list[object] = [(one.pk, one.is_secret, one.value.stored.hex()) for one in found]
    said += [(one.pk, one.repository_id, one.branch, one.project_root) for one in new]
    return Destinations(
        [
            Destination(
                one.pk,
                one.name if is_one_stack else f"{one.name} of {one.stack__name}",
                one.is_secret,
                _shown(one),
            )
            for one in found
        ],
        hashlib.sha256(json.dumps(said).encode()).hexdigest(),
        new,
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
        self.nothing_done = f"The {what} was not stored"
        # A page doesn't repeat a secret.
        self.again = " and enter the secret again" if what == "secret" else ""
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
        variables = self.destinations.variables
        if not variables:
            return note
        if reader_is_admin:
            keys = [one.pk for one in variables]
            StackVariable.objects.filter(pk__in=keys).update(is_checked=True)
        verb = "are" if self.what.endswith("s") else "is"
        return f"{note}; confirmed where the {self.what} {verb} sent: {self.destinations.names}"

    def _why_not_confirmed(self) -> str:
        destinations = self.destinations
        if not destinations.variables and not destinations.stacks:
            return ""
        if not self.cleaned_data.get("confirmed"):
            return f"{self._to_check()}, then check this box{self.again}."
        if self.data.get("destinations") != destinations.digest:
            return f"{self._to_check_again()}, then check this box{self.again}."
        variables = destinations.variables
        if hidden := [one.name for one in variables if one.value is None and not one.is_secret]:
            return (
                f"{self.nothing_done}, as {', '.join(hidden)} can't be read. Enter the value "
                f"there again or remove the variable first."
            )
        return ""

    def _to_check(self) -> str:
        return f"{self.nothing_done}, as these variables can send it elsewhere. Check their values"

    def _to_check_again(self) -> str:
        return (
            f"{self.nothing_done}, as these variables were changed after you opened the page. "
            f"Check their values again"
        )


class ReachForm(DestinationsForm):
    """The check box that confirms whose code finds `what`, like "secret", from now on.

    Those are the stacks of its destinations; where their variables send it is confirmed with it.
    """

    def __init__(
        self, data: Mapping[str, Any] | None, destinations: Destinations, what: str
    ) -> None:
        super().__init__(data, destinations, what)
        self.nothing_done, self.again = "Nothing was changed", ""
        label = f"I checked whose code can read the {what}"
        if destinations.variables:
            label += ", and where these variables send it"
        self.fields["confirmed"].label = label
        self.fields["confirmed"].help_text = ""

    def confirm(self, note: str, *, reader_is_admin: bool) -> str:
        note = super().confirm(note, reader_is_admin=reader_is_admin)
        stacks = ", ".join(str(one) for one in self.destinations.stacks)
        return f"{note}; confirmed for the code of {stacks}" if stacks else note

    def _to_check(self) -> str:
        return (
            f"{self.nothing_done}, as the code of these stacks can then read the {self.what}. "
            f"Check whose code they run"
        )

    def _to_check_again(self) -> str:
        return (
            f"{self.nothing_done}, as these stacks or their variables were changed after you "
            f"opened the page. Check them again"
        )


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
