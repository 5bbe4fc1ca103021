"""The first state of a stack, which an admin uploads and confirms.

It is for a stack whose resources exist already. Once there is a state, only runs write it.
"""

import zlib
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.db import transaction

from accounts.models import User
from core.encryption import decrypting
from stacks.models import Backend, Stack, StateLock, StateUpload, StateVersion
from stacks.rules.states import HOLDS_STACK, Kind
from stacks.tfstate.files import LARGEST_STATE, InvalidState, describe, read_uploaded

TOO_LARGE = f"A state has at most {LARGEST_STATE // 1024 // 1024} MB."
# What a form adds to its file.
ROOM_FOR_FORM = 64 * 1024


class NotPossible(Exception):
    """A state can't be uploaded; the text says why, and what to do."""


class StateForm(forms.Form):
    """The file with a state; cleaned, its content in UTF-8."""

    state = forms.FileField(
        label="State file",
        help_text="What terraform state pull prints, or a terraform.tfstate file. "
        f"{TOO_LARGE} It is stored encrypted.",
        error_messages={"required": "Choose a file.", "empty": "The file is empty."},
    )

    def clean_state(self) -> bytes:
        file: UploadedFile[Any] = self.cleaned_data["state"]
        if (file.size or 0) > LARGEST_STATE:
            raise forms.ValidationError(TOO_LARGE)
        try:
            return read_uploaded(file.read())
        except InvalidState as error:
            raise forms.ValidationError(str(error)) from None


class InMemory(MemoryFileUploadHandler):
    """Keep an uploaded state in memory, so that its secrets are on no disk.

    A larger request is read and dropped, like every file that other forms are sent.
    """

    is_too_large = False

    def handle_raw_input(
        self,
        input_data: object,
        META: dict[str, str],
        content_length: int,
        boundary: object,
        encoding: str | None = None,
    ) -> None:
        self.is_too_large = content_length > LARGEST_STATE + ROOM_FOR_FORM
        self.activated = not self.is_too_large


def has_state(stack: Stack) -> bool:
    newest = stack.state_versions.first()
    return newest is not None and not newest.is_deletion


def why_not_possible(stack: Stack) -> str:
    """Return why no state can be uploaded for a stack now; empty if one can."""
    if stack.backend != Backend.STACKHOOK:
        return (
            "The backend in the code keeps the state of this stack. Let Stackhook keep it "
            "first: Configure backend."
        )
    if has_state(stack):
        return "Stackhook holds a state of this stack already, and only its runs change it."
    return why_others_write(stack)


def why_others_write(stack: Stack) -> str:
    """Return why a person can't write a stack's state now; empty if nothing else may write it."""
    if stack.backend != Backend.STACKHOOK:
        return "The backend in the code keeps the state of this stack."
    lock = StateLock.objects.select_related("run").filter(stack=stack).first()
    if lock and not lock.is_abandoned:
        return f"{lock.run} has locked the state. Try again when it is unlocked."
    holder = stack.runs.filter(kind=Kind.TRACKED, state__in=sorted(HOLDS_STACK)).first()
    if holder:
        return (
            f"{holder} {holder.state_clause} and started with another state. "
            f"Try again when that run has ended."
        )
    return ""


@transaction.atomic
def hold(stack: Stack, person: User, content: bytes) -> None:
    """Keep a valid state, and no earlier one, until the person who uploaded it confirms it."""
    Stack.objects.select_for_update().get(pk=stack.pk)
    StateUpload.objects.filter(stack=stack).delete()
    StateUpload.objects.create(stack=stack, person=person, packed=zlib.compress(content))


def held_for(stack: Stack, person: User) -> StateUpload | None:
    """Return what a person uploaded and has not confirmed yet.

    Raises WrongKey if it can't be decrypted.
    """
    with decrypting("The uploaded state"):
        return StateUpload.objects.filter(stack=stack, person=person).first()


def store(upload: StateUpload, username: str) -> StateVersion:
    """Make an upload the newest version of its stack's state. Raises NotPossible.

    To be called in a transaction.
    """
    # While it is held, no run writes or locks the state.
    stack = Stack.objects.select_for_update().get(pk=upload.stack_id)
    if reason := why_not_possible(stack):
        raise NotPossible(reason)
    content = upload.read()
    version = describe(content)
    newest = stack.state_versions.first()
    version.stack, version.uploaded_by = stack, username
    version.number = newest.number + 1 if newest else 1
    version.save()
    version.keep(content)
    Stack.objects.filter(pk=stack.pk).forget_drift()
    upload.delete()
    return version
