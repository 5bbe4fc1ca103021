"""The pages about versions of a state: what differs between two, and restoring one."""

from typing import cast

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from accounts.audit.records import Verb, record
from accounts.models import User
from accounts.roles import admin_required
from core.encryption import WrongKey
from core.keyset import is_key
from stacks.environment.destinations import DestinationsForm, destinations_of, with_stack
from stacks.models import Stack, StateVersion
from stacks.tfstate.comparing import Comparison
from stacks.tfstate.restoring import RestoreForm, restore, why_not_restored
from stacks.tfstate.uploads import NotPossible

SHOWN = 50


class VersionsForm(forms.Form):
    """Two versions of a stack's state."""

    old = forms.IntegerField(min_value=1, max_value=2**31 - 1)
    new = forms.IntegerField(min_value=1, max_value=2**31 - 1)

    def __init__(self, data: object, stack: Stack) -> None:
        super().__init__(data)  # type: ignore[arg-type]
        self.stack = stack

    def clean_old(self) -> StateVersion:
        return self._version("old")

    def clean_new(self) -> StateVersion:
        return self._version("new")

    def _version(self, name: str) -> StateVersion:
        number = self.cleaned_data[name]
        found = self.stack.state_versions.filter(number=number).first()
        if found is None:
            raise forms.ValidationError(f"There is no version {number} of this state.")
        return found


@require_safe
@admin_required
def compare_states(request: HttpRequest, slug: str) -> HttpResponse:
    """What differs between two versions; like a download, it shows what resources hold."""
    found = get_object_or_404(Stack.objects.with_repository(), slug=slug)
    form = VersionsForm(request.GET, found)
    after = request.GET.get("after", "")
    first = int(after) if is_key(after) else 0
    context = {"stack": found, "form": form, "first": first}
    if form.is_valid():
        old, new = form.cleaned_data["old"], form.cleaned_data["new"]
        try:
            comparison = Comparison(old, new)
        except WrongKey as error:
            messages.error(request, str(error))
            return redirect("stacks:state_versions", slug)
        record(request, Verb.STATE_COMPARED, found, f"{old} with {new}")
        has_more = first + SHOWN < len(comparison.addresses)
        context |= {
            "old": old,
            "new": new,
            "added": comparison.count("add"),
            "removed": comparison.count("destroy"),
            "changed": comparison.count("change"),
            "compared": comparison.part(first, SHOWN),
            "next": first + SHOWN if has_more else None,
        }
    return render(request, "stacks/tfstate/compare_states.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@admin_required
@with_stack
def restore_state(request: HttpRequest, stack: Stack, version: int) -> HttpResponse:
    """Make an earlier version the newest one, once an admin has typed the stack's name."""
    found = get_object_or_404(StateVersion, stack=stack, number=version)
    found.stack = stack
    if reason := why_not_restored(found):
        messages.error(request, reason)
        return redirect("stacks:state_versions", stack.slug)
    data = request.POST if request.method == "POST" else None
    form = RestoreForm(data, stack)
    confirmation = DestinationsForm(data, destinations_of(stack), "state")
    # Both say what is missing at once.
    if not all([form.is_valid(), confirmation.is_valid()]):
        context = {
            "stack": stack,
            "version": found,
            "newest": stack.state_versions.first(),
            "form": form,
            "confirmation": confirmation,
        }
        return render(request, "stacks/tfstate/restore_state.html", context)
    person = cast(User, request.user)
    try:
        restored = restore(found, person.get_username())
    except (NotPossible, WrongKey) as error:
        messages.error(request, str(error))
        return redirect("stacks:state_versions", stack.slug)
    note = f"{found} as {restored}: lineage {restored.lineage}, serial {restored.serial}"
    note = confirmation.confirm(note, reader_is_admin=True)
    record(request, Verb.STATE_RESTORED, stack, note)
    messages.success(request, f"{found} of the state of {stack.name} was restored")
    return redirect("stacks:state_versions", stack.slug)
