"""The form with which admins put people into a team, and its field for several names."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model

from accounts.models import Team, User

MOST_PEOPLE = 500


class NamesField(forms.CharField):
    """Names of rows of a model, one a line: `most` of them, each `longest` long. Cleaned: the rows.

    `key` is the field of the model that has the name; `unknown` is what is said of names that no
    row has, with those in place of {}.
    """

    widget = forms.Textarea

    def __init__(
        self, model: type[Model], key: str, unknown: str, *, longest: int, most: int, **kwargs: Any
    ) -> None:
        self.model, self.key, self.unknown, self.longest = model, key, unknown, longest
        super().__init__(max_length=most * (longest + 1), required=False, **kwargs)
        self.widget.attrs |= {"spellcheck": "false", "autocapitalize": "off"}

    def clean(self, value: Any) -> Any:
        lines = super().clean(value).splitlines()
        names = list(dict.fromkeys(filter(None, map(str.strip, lines))))
        found = self.model._default_manager.in_bulk(names, field_name=self.key)
        if unknown := [name for name in names if name not in found]:
            named = ", ".join(f"“{name[: self.longest]}”" for name in unknown[:5])
            raise ValidationError(self.unknown.format(named))
        return [found[name] for name in names]


class TeamForm(forms.ModelForm[Team]):
    """A name, and who is in the team. Cleaned: people."""

    people = NamesField(
        User,
        "username",
        "There is nobody called {}. Enter usernames, one a line.",
        longest=150,
        most=MOST_PEOPLE,
        widget=forms.Textarea(attrs={"rows": 6}),
        label="People",
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
