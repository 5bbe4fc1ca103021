"""The forms of variables and files, of one stack or shared."""

import base64
import binascii
from typing import Any

from django import forms
from django.http import QueryDict

from stacks.environment.names import why_not_a_path, why_not_named
from stacks.environment.variables import (
    SHORTEST_SECRET,
    why_only_admins_set,
    why_only_admins_uncover,
)
from stacks.models import Runs, SharedEnvironment, SharedVariable, Stack, StackVariable

LONGEST_VALUE = 30_000  # four bytes each fit what Linux takes
LONGEST_FILE = 200_000
MOST_FILES = 50
TAKEN = "A variable with this name exists. Change it, or choose a different name."
TAKEN_PATH = "A file with this path exists. Change it, or choose a different path."
AS_TYPED = {"spellcheck": "false", "autocomplete": "off"}
DEFAULT_RUNS = ""
RUNS = (
    (DEFAULT_RUNS, "All runs; a secret: tracked runs only"),
    (Runs.TRACKED.value, "Tracked runs only"),
    (Runs.PROPOSED.value, "Proposed runs only"),
    (Runs.ALL.value, "All runs, also if it is a secret"),
)


class ValueField(forms.CharField):
    """A value, byte for byte as it was entered: a private key is not read without its last line."""

    widget = forms.Textarea(attrs=AS_TYPED | {"rows": 2})
    default_error_messages = {
        "null_characters_not_allowed": "A variable can't contain a null character. Remove it, or "
        "enter the value in base64 and decode it in the code.",
    }

    def __init__(self, longest: int = LONGEST_VALUE, **kwargs: Any) -> None:
        super().__init__(max_length=longest, strip=False, required=False, **kwargs)

    def to_python(self, value: Any) -> str:
        if value is None:  # not sent at all, which empties nothing
            raise forms.ValidationError(self.error_messages["required"], code="required")
        # Browsers send each line break as \r\n, whatever was pasted.
        return str(super().to_python(value)).replace("\r\n", "\n")


class VariableForm(forms.Form):
    """What a variable or file is to say. The value of a secret may be left empty, and then stays.

    `owner` is what has it; `reader_is_admin` says who enters it: admins alone decide what could
    reveal secrets.
    """

    value = ValueField(
        label="Value",
        help_text="Kept exactly as entered, with spaces and line breaks around it, and may be "
        "empty. Line breaks become those of Unix.",
    )
    is_base64 = forms.BooleanField(
        label="This is base64 of what the file holds",
        required=False,
        help_text="For files that are no text, like a PFX certificate: base64 -w0 client.pfx",
    )
    is_secret = forms.BooleanField(
        label="Secret",
        required=False,
        help_text=f"Never shown again, and masked in logs and plans. In JSON, HCL and the like, "
        f"each value of at least {SHORTEST_SECRET} characters is masked separately. All values are "
        f"stored encrypted.",
    )
    runs = forms.ChoiceField(
        label="Available to",
        required=False,
        choices=RUNS,
        help_text="Careful with secrets: whoever can open a pull request can read what proposed "
        "runs find, before anybody has reviewed the code.",
    )

    is_file = False
    was_secret = False
    had_runs = Runs.ALL

    def __init__(
        self,
        data: QueryDict | None,
        owner: Stack | SharedEnvironment,
        *,
        reader_is_admin: bool,
        initial: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data, initial=initial)
        self.owner, self.reader_is_admin = owner, reader_is_admin
        if not self.is_file:
            del self.fields["is_base64"]
        else:
            self.fields["value"] = ValueField(
                LONGEST_FILE,
                label="Content",
                widget=forms.Textarea(attrs=AS_TYPED | {"rows": 8}),
                help_text=self.fields["value"].help_text,
            )
        if not reader_is_admin:
            runs: Any = self.fields["runs"]
            runs.choices = RUNS[:3]
            runs.help_text = "Admins can also make secrets available to proposed runs."

    @property
    def noun(self) -> str:
        return "file" if self.is_file else "variable"

    @property
    def sets_secret(self) -> bool:
        """Whether the value of a secret was sent, not only that a secret stays one."""
        stays = self.was_secret and not self.data.get("value")
        return "is_secret" in self.data and not stays

    def refuse_what_admins_set(self, name: str, variable: StackVariable | None = None) -> None:
        """Raise ValidationError where a member's variable could send elsewhere what is held."""
        if self.reader_is_admin or not isinstance(self.owner, Stack):
            return
        if reason := why_only_admins_set(self.owner, name, variable, is_file=self.is_file):
            raise forms.ValidationError(reason)

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        value, is_secret = data.get("value", ""), data.get("is_secret", False)
        if "runs" in data:
            data["runs"] = self._runs(data["runs"], is_secret=is_secret)
        if "value" in self.errors:
            return data
        if self.was_secret and not value:
            if not is_secret:
                self.add_error(
                    "value",
                    f"Enter the value to show from now on. For an empty value, remove the "
                    f"{self.noun} and add it again.",
                )
        elif is_secret and len(value.strip()) < SHORTEST_SECRET:
            self.add_error(
                "value",
                f"A secret needs at least {SHORTEST_SECRET} characters, not counting spaces around "
                f"it: a shorter one is found all over a log, and can't be masked. Clear “Secret” "
                f"to enter a short or empty value.",
            )
        if value and data.get("is_base64"):
            data["value"] = self._clean_base64(value)
        return data

    def forget_secret(self) -> None:
        """Let the page not repeat a secret that was typed."""
        if "is_secret" in self.data:
            self.data = {name: text for name, text in self.data.items() if name != "value"}

    def _runs(self, typed: str, *, is_secret: bool) -> Runs:
        """Return which runs find it; for a secret, members keep what an admin chose."""
        if is_secret and self.was_secret and not self.reader_is_admin:
            return self.had_runs
        chosen = Runs(typed) if typed else Runs.usual(is_secret=is_secret)
        if is_secret and chosen != Runs.TRACKED and not self.reader_is_admin:
            self.add_error(
                "runs",
                "Only an admin can make a secret available to proposed runs. Choose tracked runs.",
            )
        return chosen

    def _clean_base64(self, value: str) -> str:
        """Return base64 in one line, so that what it says is masked, too."""
        try:
            base64.b64decode("".join(value.split()), validate=True)
        except (ValueError, binascii.Error):
            self.add_error("value", "This is not base64. Enter what base64 -w0 prints.")
        return "".join(value.split())


class ChangedVariableForm(VariableForm):
    """`value` is what a variable says now; None if that is not shown or can't be read."""

    def __init__(
        self,
        data: QueryDict | None,
        owner: Stack | SharedEnvironment,
        variable: StackVariable | SharedVariable,
        value: str | None,
        *,
        reader_is_admin: bool,
    ) -> None:
        usual = Runs.usual(is_secret=variable.is_secret)
        self.is_file = variable.is_file
        self.was_secret, self.had_runs = variable.is_secret, Runs(variable.runs)
        initial = {
            "value": value or "",
            "is_base64": variable.is_base64,
            "is_secret": variable.is_secret,
            "runs": DEFAULT_RUNS if variable.runs == usual else variable.runs,
        }
        super().__init__(data, owner, reader_is_admin=reader_is_admin, initial=initial)
        self.variable = variable
        if self.was_secret:
            self.fields["value"].help_text = "It is not shown. Left empty, it stays as it is."
            if not reader_is_admin:
                self.fields[
                    "runs"
                ].help_text = "Admins decide this for a secret: it stays as it is."
        else:
            # Nobody empties what can't be read by opening the page and saving it.
            self.fields["value"].required = value is None

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        name = self.variable.name
        if not self.is_file and (reason := why_not_named(name)):
            raise forms.ValidationError(f"{reason} This variable stays until it is removed.")
        if isinstance(self.variable, StackVariable):
            self.refuse_what_admins_set(name, self.variable)
            self._refuse_to_uncover(self.variable, data.get("runs"))
        return data

    def _refuse_to_uncover(self, variable: StackVariable, runs: Runs | None) -> None:
        if self.reader_is_admin or runs is None:
            return
        if reason := why_only_admins_uncover(variable.stack, variable, runs):
            self.add_error("runs", reason)

    @property
    def changes(self) -> dict[str, Any]:
        """The fields to store; without the value of a secret that was left empty."""
        if self.was_secret and not self.cleaned_data["value"]:
            left = {"value", "is_base64"}
            return {name: data for name, data in self.cleaned_data.items() if name not in left}
        return self.cleaned_data


class NewVariableForm(VariableForm):
    name = forms.CharField(
        label="Name",
        max_length=200,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"}
        ),
        help_text="TF_VAR_region gives the code's variable “region” its value.",
    )
    field_order = ("name", "value", "is_base64", "is_secret", "runs")

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if reason := why_not_named(name):
            raise forms.ValidationError(reason)
        if self.owner.variables.filter(name=name, is_file=False).exists():
            raise forms.ValidationError(TAKEN)
        self.refuse_what_admins_set(name)
        return name


class NewFileForm(NewVariableForm):
    is_file = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].label = "Path"
        self.fields[
            "name"
        ].help_text = "Below the folder that STACKHOOK_FILES names, like kube/config."

    def clean_name(self) -> str:
        path: str = self.cleaned_data["name"]
        if reason := why_not_a_path(path):
            raise forms.ValidationError(reason)
        files = self.owner.variables.filter(is_file=True)
        if files.filter(name=path).exists():
            raise forms.ValidationError(TAKEN_PATH)
        if files.count() >= MOST_FILES:
            raise forms.ValidationError(
                f"There are {MOST_FILES} files already. Remove one that nobody needs."
            )
        self.refuse_what_admins_set(path)
        return path
