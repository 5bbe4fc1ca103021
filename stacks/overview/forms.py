"""The filter of a stack's activity."""

from django import forms
from django.db.models import QuerySet

from stacks.models import Decision
from stacks.rules.triggers import RULE_TEXTS


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
