"""The forms of shared environments: their name, priority and labels, and attaching one."""

from typing import Any

from django import forms
from django.db.models import Value
from django.db.models.functions import Lower

from core.words import comma_separated
from stacks.models import SharedEnvironment, Stack

NAME_TAKEN = "Another shared environment has this name. Choose a different one."
HIGHEST_PRIORITY = 1000
MOST_LABELS = 50
LONGEST_LABEL = 50


class SharedEnvironmentForm(forms.Form):
    """What a shared environment is called, and when it counts."""

    name = forms.CharField(label="Name", max_length=100)
    description = forms.CharField(
        label="Description",
        max_length=500,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Optional.",
    )
    priority = forms.IntegerField(
        label="Priority",
        min_value=0,
        max_value=HIGHEST_PRIORITY,
        initial=0,
        help_text="Where two shared environments of a stack set the same variable, the one with "
        "the higher priority counts. One that is attached by hand counts before any that a label "
        "attaches, and the stack's own variables before all of them.",
    )

    def __init__(self, data: Any, environment: SharedEnvironment | None = None) -> None:
        fields = ("name", "description", "priority")
        initial = {name: getattr(environment, name) for name in fields} if environment else None
        super().__init__(data, initial=initial)
        self.environment = environment

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        others = SharedEnvironment.objects.exclude(
            pk=self.environment.pk if self.environment else 0
        )
        same = others.alias(folded=Lower("name")).filter(folded=Lower(Value(name)))
        if same.exists():
            raise forms.ValidationError(NAME_TAKEN)
        return name


class LabelsForm(forms.Form):
    """Which labels attach a shared environment to stacks."""

    labels = forms.CharField(
        label="Labels",
        max_length=(LONGEST_LABEL + 2) * MOST_LABELS,
        required=False,
        help_text="Separated by commas. Every stack with one of them gets the environment. From "
        "then on only admins can give a stack such a label.",
    )

    def clean_labels(self) -> list[str]:
        labels = comma_separated(self.cleaned_data["labels"])
        if any(len(label) > LONGEST_LABEL for label in labels):
            raise forms.ValidationError(f"A label has at most {LONGEST_LABEL} characters.")
        if len(labels) > MOST_LABELS:
            raise forms.ValidationError(f"An environment has at most {MOST_LABELS} labels.")
        return labels


class AttachForm(forms.Form):
    """Which shared environment to attach to a stack by hand."""

    environment = forms.ModelChoiceField(
        label="Shared environment",
        queryset=SharedEnvironment.objects.none(),
        empty_label=None,
        error_messages={"invalid_choice": "This environment doesn't exist any more. Choose one."},
    )

    def __init__(self, data: Any, stack: Stack) -> None:
        super().__init__(data)
        by_hand = stack.attachments.filter(is_by_hand=True).values("environment")
        field: Any = self.fields["environment"]
        field.queryset = SharedEnvironment.objects.exclude(pk__in=by_hand)
