"""The filter of the ledger."""

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict

from vcs_integrations.models import OUTCOME_TEXTS, WORDS_OF_A_SEARCH, Delivery
from vcs_integrations.providers.base import (
    Outcome,
    Provider,
)

OTHER_EVENTS = "other"


class DeliveryFilter(forms.Form):
    """Which deliveries to show; an invalid choice is ignored."""

    repository = forms.CharField(label="Repository", max_length=200, required=False)
    outcome = forms.ChoiceField(
        label="Outcome",
        required=False,
        choices=[("", "All outcomes"), *(OUTCOME_TEXTS | {Outcome.STORED: "Waiting"}).items()],
    )

    def __init__(self, data: QueryDict, provider: Provider) -> None:
        self.provider = provider
        super().__init__(data)
        events = [("", "All events"), *provider.events.items(), (OTHER_EVENTS, "Other events")]
        self.fields["event"] = forms.ChoiceField(label="Event", required=False, choices=events)
        self.order_fields(["event", "repository", "outcome"])

    def narrow(self, deliveries: QuerySet[Delivery]) -> QuerySet[Delivery]:
        """Return the deliveries that the filter lets through."""
        self.is_valid()
        event = self.cleaned_data.get("event")
        if event == OTHER_EVENTS:
            deliveries = deliveries.exclude(event_type__in=list(self.provider.events))
        elif event:
            deliveries = deliveries.filter(event_type=event)
        for word in self.cleaned_data.get("repository", "").split()[:WORDS_OF_A_SEARCH]:
            deliveries = deliveries.filter(repository_name__icontains=word)
        outcome = self.cleaned_data.get("outcome")
        return deliveries.filter(outcome=outcome) if outcome else deliveries

    @property
    def is_used(self) -> bool:
        """Whether any filter is set."""
        return any(self.cleaned_data.values())
