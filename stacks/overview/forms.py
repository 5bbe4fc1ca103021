"""The filters of a stack's activity, and of all runs."""

from datetime import date

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Lower
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from stacks.models import Decision, Stack
from stacks.overview.all_runs import ANY_ACTIVE, Wanted
from stacks.overview.stack_list import Labels
from stacks.rules.states import Kind, State
from stacks.rules.triggers import RULE_TEXTS
from vcs_integrations.models import search_key

STACKS_SUGGESTED = 500


class ActivityFilter(forms.Form):
    """Which decisions of a stack to show; an invalid choice shows all."""

    show = forms.ChoiceField(
        label="Show",
        required=False,
        choices=[
            ("", "All decisions"),
            ("run", "With a run"),
            ("no_run", "Without a run"),
            ("Rule", list(RULE_TEXTS.items())),
        ],
    )

    def narrow(self, decisions: QuerySet[Decision]) -> QuerySet[Decision]:
        """Return the decisions that the filter lets through."""
        show = self.cleaned_data["show"] if self.is_valid() else ""
        if show in {"run", "no_run"}:
            return decisions.filter(run__isnull=show == "no_run")
        return decisions.filter(rule=show) if show else decisions


class DayField(forms.DateField):
    """A day that runs may have been created on."""

    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")

    def __init__(self, label: str) -> None:
        first, last = date(2000, 1, 1), date(2999, 12, 31)
        text = "Enter a day from 2000 to 2999, like 2026-03-31."
        super().__init__(
            label=label,
            required=False,
            error_messages={"invalid": text},
            validators=[MinValueValidator(first, text), MaxValueValidator(last, text)],
        )


class StackRunFilter(forms.Form):
    """Which of a stack's runs to show. What makes no sense shows none, and says why."""

    state = forms.ChoiceField(
        label="State",
        required=False,
        choices=[("", "Any state"), (ANY_ACTIVE, "Running or queued"), *State.choices],
    )
    branch = forms.CharField(label="Branch", max_length=500, required=False)
    person = forms.CharField(label="Person", max_length=255, required=False)
    kind = forms.ChoiceField(
        label="Kind", required=False, choices=[("", "Any kind"), *Kind.choices]
    )
    since = DayField(label="Since")
    until = DayField(label="Until")

    @property
    def wanted(self) -> Wanted | None:
        """The runs to show; None if something makes no sense."""
        if not self.is_valid():
            return None
        values = dict(self.cleaned_data)
        return Wanted(stacks=values.pop("label", None), **values)

    @property
    def is_used(self) -> bool:
        """Whether any filter is set."""
        return any(self.data.get(name) for name in self.fields)

    @property
    def problems(self) -> list[str]:
        """What makes no sense, each with the name of its field."""
        return [
            f"{self.fields[name].label}: {error}"
            for name, errors in self.errors.items()
            for error in errors
        ]


class RunFilter(StackRunFilter):
    """Which runs of all stacks to show."""

    stack = forms.CharField(
        label="Stack",
        max_length=110,
        required=False,
        widget=forms.TextInput(attrs={"list": "stacks-there-are", "autocomplete": "off"}),
    )
    label = forms.CharField(label="Label", max_length=100, required=False)

    field_order = ("state", "stack", "label")

    def clean_stack(self) -> Stack | None:
        text = self.cleaned_data["stack"]
        if not text:
            return None
        named = Stack.objects.alias(folded=Lower("name"))
        found = named.filter(Q(slug=text) | Q(folded=Lower(Value(text)))).first()
        if found is None:
            raise forms.ValidationError(f"There is no stack “{text}”. Check its name.")
        return found

    def clean_label(self) -> set[int] | None:
        """Return the keys of the stacks that have the label."""
        text = self.cleaned_data["label"]
        if not text:
            return None
        found = Labels.read().with_all([search_key(text)])
        if not found:
            raise forms.ValidationError(f"No stack has the label “{text}”. Check its spelling.")
        return found


def stacks_to_suggest() -> SafeString:
    """Return the options that the field for a stack offers; a template's loop takes far longer."""
    names = Stack.objects.values_list("name")[:STACKS_SUGGESTED]
    return format_html_join("", '<option value="{}"></option>', names)
