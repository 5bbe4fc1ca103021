"""The fields that say what to be notified of."""

from typing import Any

from django import forms

from notifications.models import Event

HELP = {
    Event.WAITING: "A tracked run waits until a person confirms its plan.",
    Event.FAILED: "A tracked run or drift detection failed. Pull requests show their own results.",
    Event.DRIFT: "Drift detection found that something was changed outside.",
    Event.APPLIED: "A tracked run was applied.",
}


class EventsForm(forms.Form):
    """A checkbox for each event. Cleaned: `events`, at least one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for event in Event:
            self.fields[event.value] = forms.BooleanField(
                label=event.label, required=False, help_text=HELP[event]
            )

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        data["events"] = [event.value for event in Event if data.pop(event.value, False)]
        if not data["events"]:
            raise forms.ValidationError("Choose at least one event.")
        return data
