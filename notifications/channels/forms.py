"""The form of a channel."""

from typing import Any

from django import forms

from core.words import comma_separated
from notifications.events_form import EventsForm
from notifications.models import Channel, Event, Kind
from notifications.outbox.posting import LONGEST_ADDRESS, why_unusable
from stacks.models import Stack

NAME_TAKEN = "Another channel has this name. Choose a different one."
ADDRESS_HELP = (
    "For Teams, the address of a workflow that starts when a Teams webhook request is received; "
    "for Slack, that of an incoming webhook; else any address with https. It is stored encrypted "
    "and never shown again."
)


class ChannelForm(EventsForm):
    """A new channel, or a change of one.

    Cleaned: `name`, `kind`, `address` (empty to keep the present one), `new_secret`, `stacks`,
    `labels` and `events`.
    """

    name = forms.CharField(label="Name", max_length=100)
    kind = forms.ChoiceField(label="Kind", choices=Kind.choices)
    address = forms.CharField(
        label="Address",
        max_length=LONGEST_ADDRESS,
        required=False,
        help_text=ADDRESS_HELP,
        # Shown while it is typed, but never written into the form again.
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )
    new_secret = forms.BooleanField(
        label="New signing secret",
        required=False,
        help_text="Replaces the secret that signs messages to a webhook; the old one ends at once.",
    )
    stacks = forms.ModelMultipleChoiceField(
        Stack.objects.all(),
        label="Stacks",
        required=False,
        help_text="Without stacks and labels, events of all stacks are posted.",
    )
    labels = forms.CharField(
        label="Labels",
        max_length=500,
        required=False,
        help_text="Separated by commas. Events of stacks that have one of them are posted.",
    )

    def __init__(self, *args: Any, channel: Channel | None = None, **options: Any) -> None:
        initial: dict[str, Any] = {Event.WAITING.value: True, Event.FAILED.value: True}
        if channel:
            initial = dict.fromkeys(channel.events, True)
            initial |= {name: getattr(channel, name) for name in ("name", "kind")}
            initial |= {"labels": ", ".join(channel.labels), "stacks": channel.stacks.all()}
        super().__init__(*args, initial=initial, **options)
        self.channel = channel
        if channel:
            self.fields["address"].help_text = f"Empty keeps the present one. {ADDRESS_HELP}"
            self.fields["kind"].disabled = True  # an address is that of its kind
        if channel is None or channel.kind != Kind.WEBHOOK:
            del self.fields["new_secret"]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        same = Channel.objects.filter(name__iexact=name).first()
        if same and same != self.channel:
            raise forms.ValidationError(NAME_TAKEN)
        return name

    def clean_address(self) -> str:
        address: str = self.cleaned_data["address"]
        if why := why_unusable(address) if address else "":
            raise forms.ValidationError(why)
        if not address and (self.channel is None or self.channel.read_secret() is None):
            raise forms.ValidationError("Enter the address.")
        return address

    def clean_labels(self) -> list[str]:
        return comma_separated(self.cleaned_data["labels"])
