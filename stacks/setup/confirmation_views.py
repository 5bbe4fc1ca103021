"""Confirmation: who confirms the runs of a stack, and how many people have to."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.roles import is_admin
from stacks.environment.destinations import with_stack
from stacks.models import Confirmers, Stack
from stacks.models.stack import MOST_APPROVALS

AUTODEPLOY = (
    "This stack has autodeploy, which applies plans that nobody has confirmed. Switch that off "
    "under Define behavior first."
)


class ConfirmationForm(forms.Form):
    """Who confirms, how many of them, and whether the author of the code may be among them."""

    confirmers = forms.ChoiceField(label="Who confirms runs", choices=Confirmers.choices)
    approvals_needed = forms.TypedChoiceField(
        label="Number of approvals",
        coerce=int,
        choices=[(number, str(number)) for number in range(1, MOST_APPROVALS + 1)],
        help_text="So many different people have to approve the same plan. The last approval "
        "applies it. That of somebody who may not confirm runs any more does not count.",
    )
    excludes_author = forms.BooleanField(
        label="Whoever wrote the commit can't confirm its run",
        required=False,
        help_text="Nor can its committer, who pushed it, and who triggered the run. The e-mail "
        "addresses of the newest commit and the account that pushed are compared with the e-mail "
        "address and username of the person; other commits of the push are not. If it is not "
        "known who wrote or pushed the commit, nobody can confirm the run.",
    )

    def __init__(self, data: Any, stack: Stack, *, reader_is_admin: bool) -> None:
        super().__init__(data, initial={name: getattr(stack, name) for name in self.base_fields})
        self.stack = stack
        for field in self.fields.values():
            field.disabled = not reader_is_admin

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if self.stack.autodeploy:
            unrestricted = Stack()
            for name in [one for one in data if data[one] != getattr(unrestricted, one)]:
                self.add_error(name, AUTODEPLOY)
        return data


@require_http_methods(["GET", "HEAD", "POST"])
@with_stack
def change_confirmation(request: HttpRequest, stack: Stack) -> HttpResponse:
    """Who confirms runs; only admins choose, since it is they who may rely on it."""
    if request.method != "POST":
        form = ConfirmationForm(None, stack, reader_is_admin=is_admin(request))
        return render(request, "stacks/setup/confirmation.html", {"form": form, "stack": stack})
    if not is_admin(request):
        raise PermissionDenied("Only admins may do this. Ask an admin of Stackhook.")
    with transaction.atomic():
        # Until it is stored, nobody switches on autodeploy.
        held = get_object_or_404(Stack.objects.select_for_update(no_key=True), pk=stack.pk)
        form = ConfirmationForm(request.POST, held, reader_is_admin=True)
        if not form.is_valid():
            return render(request, "stacks/setup/confirmation.html", {"form": form, "stack": stack})
        Stack.objects.filter(pk=held.pk).update(**form.cleaned_data)
        held.refresh_from_db(fields=[*form.cleaned_data])
        record(request, Verb.STACK_CHANGED, held, f"Confirmation: {held.confirmation_text}")
    messages.success(request, f"Confirmation of {stack.name} was changed")
    return redirect(stack)
