"""Copy the variables of a stack to another that is cloned from it.

Secrets are never copied, whoever asks: nobody could see where the copy sends them. Nor does a copy
count as checked by an admin, so whoever stores a secret in the clone confirms the variables first.
"""

from dataclasses import dataclass, field
from typing import Any

from core.encryption import WrongKey, decrypting
from stacks.environment.names import why_not_named
from stacks.models import Stack, StackVariable

KEPT = ("name", "is_file", "is_base64", "runs")


@dataclass
class Copying:
    """What is copied: variables and files; and the names of what somebody has to enter again.

    These are secrets, values that can't be decrypted, and names that are not allowed any more.
    """

    copies: list[dict[str, Any]] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    not_allowed: list[str] = field(default_factory=list)

    @property
    def copied(self) -> str:
        return ", ".join(one["name"] for one in self.copies)

    @property
    def left(self) -> str:
        """The names of what has to be entered, in words; empty if there is nothing."""
        return ", ".join([*self.secrets, *self.unreadable])

    def store(self, stack: Stack) -> None:
        """Store the variables and files of a new stack."""
        for fields in self.copies:
            StackVariable.objects.create(stack=stack, **fields)


def copying_of(stack: Stack) -> Copying:
    """Return what a clone of a stack gets of its variables and files."""
    found = Copying()
    for one in stack.variables.values_list(*KEPT, "pk", "is_secret", "value", named=True):
        if not one.is_file and why_not_named(one.name):
            found.not_allowed.append(one.name)
        elif one.is_secret:
            found.secrets.append(one.name)
        else:
            try:
                with decrypting(f"The variable {one.name} of this stack"):
                    value = str(one.value.open(one.pk))
            except WrongKey:
                found.unreadable.append(one.name)
            else:
                kept = {name: getattr(one, name) for name in KEPT}
                found.copies.append(kept | {"value": value})
    return found
