"""The form of what a person wants to be notified of."""

from typing import Any

from django import forms

from notifications.events_form import EventsForm
from stacks.models import Stack

ALL = "all"


class SubscriptionForm(EventsForm):
    """Stacks and events. Cleaned: `stack` or None, `label` or empty, and `events`."""

    scope = forms.ChoiceField(label="Stacks")
    field_order = ["scope"]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        stacks = list(Stack.objects.only("pk", "name", "labels"))
        labels = sorted({label for stack in stacks for label in stack.labels})
        self.fields["scope"].choices = [  # type: ignore[attr-defined]
            (ALL, "All stacks"),
            ("With a label", [(f"label:{label}", label) for label in labels]),
            ("One stack", [(f"stack:{stack.pk}", stack.name) for stack in stacks]),
        ]

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        kind, _, value = data.pop("scope", "").partition(":")
        data["label"] = value if kind == "label" else ""
        data["stack"] = Stack.objects.filter(pk=value).first() if kind == "stack" else None
        if kind == "stack" and data["stack"] is None:  # deleted in this moment
            raise forms.ValidationError("This stack is gone. Choose another.")
        return data
