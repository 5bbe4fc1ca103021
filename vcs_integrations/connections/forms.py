"""The set-up form of an integration, the form that edits one, and the ledger's filter."""

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils import timezone

from vcs_integrations.connections.linking import Details
from vcs_integrations.models import Integration
from vcs_integrations.organizations.checkup import in_words
from vcs_integrations.providers.base import (
    Finding,
    InvalidOrganizationUrl,
    OrganizationUrl,
    Problem,
    Provider,
    ProviderError,
)

ADDRESS_PROBLEMS = {
    Problem.ORGANIZATION_UNKNOWN,
    Problem.ORGANIZATION_STOPPED,
    Problem.VERSION_REFUSED,
    Problem.REFUSED,
    Problem.NOT_THE_PROVIDER,
    Problem.ANSWER_TOO_LARGE,
    Problem.NOT_FOUND,
}


class TokenField(forms.CharField):
    """A field to type or paste a token into; it never renders the token."""

    widget = forms.PasswordInput(attrs={"autocomplete": "new-password", "spellcheck": "false"})

    def clean(self, value: Any) -> str:
        token: str = super().clean(value)
        if not re.fullmatch(r"[\x21-\x7e]*", token):
            raise forms.ValidationError(
                "The token has a space or another invalid character. Copy the whole token again."
            )
        return token


class IntegrationForm(forms.Form):
    """The fields that both forms have."""

    token = TokenField(
        label="Personal access token",
        max_length=4096,
    )
    name = forms.CharField(
        label="Name",
        max_length=100,
        required=False,
        help_text="What your team calls it; the organization's name if empty.",
    )
    description = forms.CharField(
        label="Description",
        max_length=500,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    token_expires_on = forms.DateField(
        label="Token expires on",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        input_formats=["%Y-%m-%d"],
        help_text="The token's last day, as chosen when it was created. Stackhook can't "
        "read it from the token, and without it can't warn admins 30, 14, 7 and 1 days before.",
    )

    def clean_token_expires_on(self) -> date | None:
        """Refuse a past date, unless it is the stored one of the present token.

        That one is removed together with its token.
        """
        day: date | None = self.cleaned_data["token_expires_on"]
        is_kept = day == self.initial.get("token_expires_on")
        if is_kept and self.data.get("token"):
            return None
        if day and not is_kept and day < timezone.now().date():
            raise forms.ValidationError(
                "This date is in the past. Enter the token's expiry date, or leave it empty."
            )
        return day

    @property
    def details(self) -> Details:
        return Details(
            name=self.cleaned_data["name"],
            description=self.cleaned_data["description"],
            token_expires_on=self.cleaned_data["token_expires_on"],
        )

    def blame(self, error: ProviderError) -> None:
        """Show why connecting failed at the field that can fix it."""
        field = "token"
        if error.problem in ADDRESS_PROBLEMS and "organization_url" in self.fields:
            field = "organization_url"
        # The notification has the whole cause.
        self.add_error(field, f"{error.brief} {error.fix}")


class SetUpForm(IntegrationForm):
    """Two fields link an organization; `clean_organization_url` returns what was understood."""

    organization_url = forms.CharField(
        label="Organization URL",
        max_length=2000,
        widget=forms.TextInput(
            attrs={
                "inputmode": "url",
                "autocomplete": "off",
                "autocapitalize": "off",
                "spellcheck": "false",
            }
        ),
    )
    field_order = ("organization_url", "token", "token_expires_on", "name", "description")

    def __init__(self, data: QueryDict | None, provider: Provider) -> None:
        self.provider = provider
        super().__init__(data and data.dict())
        self.fields["organization_url"].help_text = provider.url_help
        self.fields["token"].help_text = provider.token_help

    def clean_organization_url(self) -> OrganizationUrl:
        typed = self.cleaned_data["organization_url"]
        try:
            understood = self.provider.parse_organization_url(typed)
        except InvalidOrganizationUrl as error:
            # A form that is shown again must not show a password that was pasted.
            self._show(re.sub(r"//[^/]*@", "//", typed))
            raise forms.ValidationError(str(error)) from error
        self._show(understood.url)
        return understood

    def _show(self, url: str) -> None:
        """Replace the typed address with this one, in case the form is shown again."""
        self.data = {**self.data, "organization_url": url}


class EditForm(IntegrationForm):
    """Name, description and expiry date; a token only to replace the present one."""

    reports_all_stacks_at_once = forms.BooleanField(
        label="One status for all stacks",
        required=False,
        help_text="On: a commit or pull request has one status, stackhook/all, instead of one for "
        "each stack. It applies to what is pushed from now on; branch policies need the name "
        "that the stack's page shows.",
    )
    field_order = (
        "name",
        "description",
        "token",
        "token_expires_on",
        "reports_all_stacks_at_once",
    )

    def __init__(self, data: QueryDict | None, integration: Integration) -> None:
        initial = {
            "name": integration.name,
            "description": integration.description,
            "token_expires_on": integration.token_expires_on,
            "reports_all_stacks_at_once": integration.reports_all_stacks_at_once,
        }
        super().__init__(data, initial=initial)
        self.fields["token"].required = False
        self.fields["token"].label = "New personal access token"
        self.fields["token"].help_text = (
            f"Leave empty to keep the present one; a new one is tried before it replaces the old. "
            f"{integration.provider.token_help}"
        )
        self.fields[
            "token_expires_on"
        ].help_text += " A new token needs a new date: the old date is removed with the old token."
        if data and "replace_anyway" in data:
            self._offer_to_replace()

    def refuse_token(self, lost: Sequence[Finding]) -> None:
        """Show what a new token can't do that the present one can, and offer to use it anyway."""
        reasons = [f"It can't {in_words(one)}. {one.cause} {one.fix}" for one in lost]
        self.add_error("token", ["The present token was kept, since it can do more.", *reasons])
        self._offer_to_replace()

    def _offer_to_replace(self) -> None:
        self.fields["replace_anyway"] = forms.BooleanField(
            label="Replace anyway",
            required=False,
            help_text="Stackhook did not store the new token. Enter it again if it is gone.",
        )
        self.order_fields(["name", "description", "token", "replace_anyway"])
