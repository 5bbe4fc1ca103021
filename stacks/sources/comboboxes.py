"""Text fields that list what matches: repositories and branches."""

from typing import Any

from django import forms


class ComboboxInput(forms.TextInput):
    """A text field with a list of matches; without JavaScript it is just the text field."""

    template_name = "elements/combobox.html"

    def __init__(self, url_name: str, waiting: str = "") -> None:
        """`waiting` is shown while the list is read."""
        super().__init__({"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"})
        self.url_name = url_name
        self.waiting = waiting

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        more = {"url_name": self.url_name, "waiting": self.waiting}
        return super().get_context(name, value, attrs) | more
