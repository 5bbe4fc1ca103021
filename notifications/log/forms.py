"""The filter of the delivery log."""

from django import forms
from django.db.models import QuerySet

from notifications.models import Channel, Event, Message, MessageState


class MessageFilter(forms.Form):
    """Which messages to show; an invalid choice is ignored."""

    event = forms.ChoiceField(
        label="Event", required=False, choices=[("", "All events"), *Event.choices]
    )
    state = forms.ChoiceField(
        label="State", required=False, choices=[("", "All states"), *MessageState.choices]
    )
    channel = forms.ModelChoiceField(
        Channel.objects.all(),
        label="Channel",
        required=False,
        empty_label="All channels and people",
    )

    def narrow(self, messages: QuerySet[Message]) -> QuerySet[Message]:
        """Return the messages that the filter lets through."""
        self.is_valid()
        chosen = {name: value for name, value in self.cleaned_data.items() if value}
        return messages.filter(**chosen)
