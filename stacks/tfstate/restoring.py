"""Making an earlier version of a state the newest one, as an admin confirms."""

import json

from django import forms

from stacks.models import Stack, StateVersion
from stacks.rules.stack_names import why_not_confirmed
from stacks.tfstate.files import InvalidState, describe
from stacks.tfstate.uploads import NotPossible, why_others_write


class RestoreForm(forms.Form):
    """The name of the stack, typed by whoever restores its state."""

    name = forms.CharField(label="Name of the stack", max_length=200)

    def __init__(self, data: object, stack: Stack) -> None:
        super().__init__(data)  # type: ignore[arg-type]
        self.stack = stack
        self.fields["name"].help_text = f"Type {stack.name} to confirm."
        self.fields["name"].widget.attrs["autocomplete"] = "off"

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if refusal := why_not_confirmed(name, self.stack.name):
            raise forms.ValidationError(refusal)
        return name


def why_not_restored(version: StateVersion) -> str:
    """Return why a version can't become the newest one now; empty if it can."""
    newest = version.stack.state_versions.first()
    if version.is_deletion:
        return "That version is a deletion and has no content. Choose another one."
    if newest == version:
        return f"{version} is the newest version already."
    return why_others_write(version.stack)


def restore(version: StateVersion, username: str) -> StateVersion:
    """Store a copy of a version as its stack's newest one. Raises NotPossible and WrongKey.

    Terraform refuses a state whose serial is not higher than the last, so it gets the next one.
    To be called in a transaction that has locked the stack: no run writes or locks the state.
    """
    if reason := why_not_restored(version):
        raise NotPossible(reason)
    newest = version.stack.state_versions.first()
    last = max(version.serial, newest.serial if newest else 0)
    try:
        content = with_serial(version.read(), last + 1)
        restored = describe(content)
    except InvalidState as error:
        raise NotPossible(f"{version} can't be restored. {error}") from None
    restored.stack, restored.uploaded_by = version.stack, username
    restored.restored_from = version.number
    restored.number = newest.number + 1 if newest else 1
    restored.save()
    restored.keep(content)
    Stack.objects.filter(pk=version.stack_id).forget_drift()
    return restored


def with_serial(content: bytes, serial: int) -> bytes:
    """Return a state with another serial, and every other character as it is.

    So no number loses digits that Python would not print. Raises InvalidState.
    """
    text = content.decode("utf-8-sig", "surrogatepass")
    decoder = json.JSONDecoder()
    try:
        place = text.index("{") + 1
        while True:
            name, place = decoder.raw_decode(text, _skip(text, place, ","))
            start = _skip(text, place, ":")
            _, place = decoder.raw_decode(text, start)
            if name == "serial":
                text = f"{text[:start]}{serial}{text[place:]}"
                break
    except (ValueError, RecursionError):
        raise InvalidState("Invalid state: expected a serial, a whole number.") from None
    found = text.encode("utf-8", "surrogatepass")
    if describe(found).serial != serial:
        raise InvalidState("Invalid state: it has several serials.")
    return found


def _skip(text: str, place: int, mark: str) -> int:
    """Return where the next value begins, behind spaces and a mark."""
    while text[place : place + 1] in {mark, " ", "\t", "\n", "\r"} - {""}:
        place += 1
    return place
