"""What a stack's runs find, merged from its own variables and those of shared environments.

Of several with the same name, one counts for a kind of run: the stack's own first, then those of
shared environments that an admin attached, then those that labels attach; among these the higher
priority counts, then the name of the environment. One that a kind of run doesn't find hides none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.encrypted_fields import Sealed
from core.encryption import decrypting
from stacks.models import Attachment, Runs, SharedEnvironment, SharedVariable, Stack, Variable
from stacks.rules.states import Kind

FIELDS = ("pk", "name", "value", "is_file", "is_base64", "is_secret", "runs")
# What is the same for two variables of which one counts.
Key = tuple[bool, str]
# Drift runs find what tracked ones do.
KINDS = (Kind.TRACKED, Kind.PROPOSED)


@dataclass(frozen=True)
class Found:
    """A variable or file of a stack, or of a shared environment, whose value is still encrypted.

    `attachment` is None for the stack's own.
    """

    pk: int
    name: str
    is_file: bool
    is_base64: bool
    is_secret: bool
    runs: Runs
    sealed: Sealed = field(repr=False)
    attachment: Attachment | None = None

    @property
    def key(self) -> Key:
        return self.is_file, self.name

    @property
    def origin(self) -> str:
        """Where it comes from, in words that follow “of”."""
        return str(self.attachment.environment) if self.attachment else "this stack"

    def open(self) -> str:
        """Return its value. Raises WrongKey."""
        thing = "file" if self.is_file else "variable"
        said = f"The {thing} {self.name} of {self.origin}"
        with decrypting(said, "Or enter its value again."):
            return str(self.sealed.open(self.pk))


@dataclass(frozen=True)
class Merged:
    """One that counts, for which kinds of run, and those of the same name that it overrides."""

    found: Found
    kinds: list[Kind]
    overrides: list[Found]


def found_in(stack: Stack) -> list[Found]:
    """Return all variables and files of a stack, also shared ones, what counts first at first."""
    return [*_own(stack), *_shared(stack)]


def found_of(environment: SharedEnvironment) -> list[Found]:
    """Return the variables and files of a shared environment alone."""
    rows = environment.variables.order_by(*Variable.Meta.ordering)
    origin = Attachment(environment=environment)
    return [_found(row, origin) for row in rows.values_list(*FIELDS, named=True)]


def counting(found: Iterable[Found], kind: Kind) -> dict[Key, Found]:
    """Return what runs of a kind find, by what it is and its name."""
    chosen: dict[Key, Found] = {}
    for one in found:
        if one.runs.includes(kind):
            chosen.setdefault(one.key, one)
    return chosen


def merge(found: Sequence[Found]) -> list[Merged]:
    """Return what counts for some kind of run, variables first, by name."""
    by_kind = {kind: counting(found, kind) for kind in KINDS}
    merged = []
    for one in sorted(found, key=lambda one: one.key):
        kinds = [kind for kind in KINDS if by_kind[kind].get(one.key) is one]
        if kinds:
            later = found[found.index(one) + 1 :]
            same = (other for other in later if other.key == one.key)
            overrides = [
                other for other in same if any(other.runs.includes(kind) for kind in kinds)
            ]
            merged.append(Merged(one, kinds, overrides))
    return merged


def _own(stack: Stack) -> list[Found]:
    rows = stack.variables.order_by(*Variable.Meta.ordering)
    return [_found(row) for row in rows.values_list(*FIELDS, named=True)]


def _shared(stack: Stack) -> list[Found]:
    attachments = Attachment.objects.filter(stack=stack).in_order()
    attached = {one.environment_id: one for one in attachments}
    if not attached:  # mostly
        return []
    rows = SharedVariable.objects.filter(environment__in=attached).order_by(*Variable.Meta.ordering)
    named = list(rows.values_list(*FIELDS, "environment_id", named=True))
    return [
        _found(row, attachment)
        for key, attachment in attached.items()
        for row in named
        if row.environment_id == key
    ]


def _found(row: Any, attachment: Attachment | None = None) -> Found:
    return Found(
        pk=row.pk,
        name=row.name,
        is_file=row.is_file,
        is_base64=row.is_base64,
        is_secret=row.is_secret,
        runs=Runs(row.runs),
        sealed=row.value,
        attachment=attachment,
    )
