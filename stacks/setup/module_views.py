"""Module access: which other repositories the code of a stack may have fetched."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.roles import is_admin
from stacks.environment.destinations import with_stack
from stacks.models import Reach, Stack
from stacks.sources.finding import known_repository, without_password
from vcs_integrations.models import Repository

MOST_LISTED = 100


class ModuleAccessForm(forms.Form):
    """Which repositories, and the repository whose code that is for when the page was shown."""

    reach = forms.ChoiceField(
        label="Repositories that the code may read",
        choices=Reach.choices,
        error_messages={"required": "Choose one of these."},
    )
    repositories = forms.CharField(
        label="Further repositories",
        max_length=MOST_LISTED * 500,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "autocapitalize": "off"}),
        help_text="One a line, as project/repository or an address. They count with “Those of its "
        "own project, and these”.",
    )
    plans_module_changes = forms.BooleanField(
        label="Plan proposed changes of its modules",
        required=False,
        help_text="A pull request of a module that the stack uses is planned here, too, and shows "
        "the result. Its code runs like that of the stack's own pull requests, and finds what "
        "theirs finds.",
    )
    source = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, data: Any, stack: Stack, *, reader_is_admin: bool) -> None:
        initial = {
            "reach": stack.reach,
            "repositories": "\n".join(map(str, stack.readable.all())),
            "plans_module_changes": stack.plans_module_changes,
            "source": stack.repository_id,
        }
        super().__init__(data, initial=initial)
        self.stack = stack
        for field in self.fields.values():
            field.disabled = not reader_is_admin

    def clean_repositories(self) -> list[Repository]:
        typed = [line.strip() for line in self.cleaned_data["repositories"].splitlines()]
        lines = list(dict.fromkeys(filter(None, typed)))
        if len(lines) > MOST_LISTED:
            raise forms.ValidationError(
                f"These are {len(lines)} repositories, and the list takes {MOST_LISTED}. Choose "
                f"all of the organization, or list fewer."
            )
        found = {line: known_repository(self.stack.integration, line) for line in lines}
        if unknown := [line for line, one in found.items() if one is None]:
            named = ", ".join(f"“{without_password(line)[:100]}”" for line in unknown[:5])
            raise forms.ValidationError(
                f"{self.stack.integration.organization_name} has no repository {named}, as far as "
                f"Stackhook knows. Enter project/repository, one a line."
            )
        return list({one.pk: one for one in found.values() if one}.values())

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if data.get("source") != self.stack.repository_id:
            raise forms.ValidationError(
                f"The stack follows {self.stack.repository} by now. Check that its code may read "
                f"these repositories, then save again."
            )
        if data.get("reach") == Reach.LISTED and data.get("repositories") == []:
            self.add_error("repositories", "List at least one repository, or choose another one.")
        return data


@require_http_methods(["GET", "HEAD", "POST"])
@with_stack
def module_access(request: HttpRequest, stack: Stack) -> HttpResponse:
    """What the code of a stack may read; admins choose, as its code may show it to anybody."""
    if request.method == "POST" and not is_admin(request):
        raise PermissionDenied("Only admins may do this. Ask an admin of Stackhook.")
    data = request.POST if request.method == "POST" else None
    form = ModuleAccessForm(data, stack, reader_is_admin=is_admin(request))
    if form.is_valid():
        reach = Reach(form.cleaned_data["reach"])
        listed = form.cleaned_data["repositories"] if reach == Reach.LISTED else []
        plans = form.cleaned_data["plans_module_changes"]
        Stack.objects.filter(pk=stack.pk).update(reach=reach, plans_module_changes=plans)
        stack.readable.set(listed)
        named = f": {', '.join(map(str, listed))}" if listed else ""
        words = "planned" if plans else "not planned"
        switched = plans != stack.plans_module_changes
        planned = f"; proposed changes of modules are {words}" if switched else ""
        note = f"Module access: {reach.label}{named}"[:1900]
        record(request, Verb.STACK_CHANGED, stack, f"{note}{planned}")
        messages.success(request, f"Module access of {stack.name} was changed")
        return redirect(stack)
    if data is not None:  # the next try is for what the page shows now
        again = data.copy()
        again["source"] = str(stack.repository_id)
        form.data = again
    return render(request, "stacks/setup/module_access.html", {"form": form, "stack": stack})
