"""Confirmation: who confirms the runs of a stack, how many people have to, and teams' roles."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts.audit.records import Verb, record
from accounts.models import Team
from accounts.roles import is_admin
from accounts.teams.forms import NamesField
from stacks.environment.destinations import with_stack
from stacks.models import Confirmers, Stack, TeamRole
from stacks.models.stack import MOST_APPROVALS

AUTODEPLOY = (
    "This stack has autodeploy, which applies plans that nobody has confirmed. Switch that off "
    "under Define behavior first."
)
RULES = ("confirmers", "approvals_needed", "excludes_author")
TEAMS = {"member_teams": TeamRole.Role.MEMBER, "approver_teams": TeamRole.Role.APPROVER}
MOST_TEAMS = 100


class TeamsField(NamesField):
    """Names of teams, one a line. Cleaned: teams."""

    def __init__(self, **kwargs: Any) -> None:
        unknown = "There is no team {}. Enter names, one a line."
        super().__init__(Team, "name", unknown, longest=100, most=MOST_TEAMS, **kwargs)
        self.widget.attrs["rows"] = 2


class ConfirmationForm(forms.Form):
    """Who confirms, how many of them, whether the author may be among them, and teams' roles."""

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

    member_teams = TeamsField(
        label="Teams of members",
        help_text="Teams whose people may do on this stack what members may, one a line. Admins "
        "create teams under People. What people may otherwise stays as it is.",
    )
    approver_teams = TeamsField(
        label="Teams of approvers",
        help_text="Teams whose people may do on this stack what approvers may, one a line.",
    )

    def __init__(self, data: Any, stack: Stack, *, reader_is_admin: bool) -> None:
        initial = {name: getattr(stack, name) for name in RULES}
        roles = list(stack.team_roles.select_related("team"))
        for name, role in TEAMS.items():
            initial[name] = "\n".join(one.team.name for one in roles if one.role == role)
        super().__init__(data, initial=initial)
        self.stack = stack
        for field in self.fields.values():
            field.disabled = not reader_is_admin

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if self.stack.autodeploy:
            unrestricted = Stack()
            chosen = [name for name in RULES if name in data]
            for name in [one for one in chosen if data[one] != getattr(unrestricted, one)]:
                self.add_error(name, AUTODEPLOY)
        both = {*data.get("member_teams", [])} & {*data.get("approver_teams", [])}
        if both:
            named = ", ".join(sorted(team.name for team in both))
            self.add_error("approver_teams", f"{named}: choose one role for each team.")
        return data

    def save(self) -> None:
        """Store all of it in the stack, which the caller has locked."""
        stored = Stack.objects.filter(pk=self.stack.pk)
        stored.update(**{name: self.cleaned_data[name] for name in RULES})
        self.stack.team_roles.all().delete()
        TeamRole.objects.bulk_create(
            TeamRole(stack=self.stack, team=team, role=role)
            for name, role in TEAMS.items()
            for team in self.cleaned_data[name]
        )
        self.stack.refresh_from_db(fields=RULES)

    @property
    def note(self) -> str:
        """What was chosen, for the audit log."""
        teams = self.stack.teams_text
        return f"Confirmation: {self.stack.confirmation_text}{f'; {teams}' if teams else ''}"[:2000]


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
        form.save()
        record(request, Verb.STACK_CHANGED, held, form.note)
    messages.success(request, f"Confirmation of {stack.name} was changed")
    return redirect(stack)
