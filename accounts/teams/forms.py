"""The form with which admins put people into a team."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.models import Team, User

MOST_PEOPLE = 500


class TeamForm(forms.ModelForm[Team]):
    """A name, and who is in the team. Cleaned: people."""

    people = forms.CharField(
        label="People",
        max_length=MOST_PEOPLE * 151,
        required=False,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false", "autocapitalize": "off"}),
        help_text="Usernames, one a line.",
    )

    class Meta:
        model = Team
        fields = ["name"]
        error_messages = {"name": {"unique": "Another team has this name."}}

    def __init__(self, data: Any, team: Team | None = None) -> None:
        names = team.people.order_by("username") if team else []
        initial = {"people": "\n".join(person.get_username() for person in names)}
        super().__init__(data, instance=team, initial=initial)

    def clean_people(self) -> list[User]:
        lines = self.cleaned_data["people"].splitlines()
        names = list(dict.fromkeys(filter(None, map(str.strip, lines))))
        found = User.objects.in_bulk(names, field_name="username")
        if unknown := [name for name in names if name not in found]:
            named = ", ".join(f"“{name[:150]}”" for name in unknown[:5])
            raise ValidationError(f"There is nobody called {named}. Enter usernames, one a line.")
        return [found[name] for name in names]

    @property
    def note(self) -> str:
        """Who is in the team, for the audit log."""
        names = [person.get_username() for person in self.cleaned_data["people"]]
        return f"People: {', '.join(names) or 'nobody'}"[:2000]

    @transaction.atomic
    def save(self, commit: bool = True) -> Team:
        team = super().save(commit)
        team.people.set(self.cleaned_data["people"])
        return team
