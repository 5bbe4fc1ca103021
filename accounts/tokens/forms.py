"""The form of a new token."""

from django import forms

NEVER = ("", "Never")


class TokenForm(forms.Form):
    """What a token is for, and when it expires."""

    name = forms.CharField(
        label="Name",
        max_length=100,
        help_text="What it is for, like “My laptop”.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    days = forms.TypedChoiceField(
        label="Expires",
        choices=[("30", "In 30 days"), ("90", "In 90 days"), ("365", "In 365 days"), NEVER],
        coerce=int,
        empty_value=None,
        required=False,
        initial="90",
    )
