"""Re-encrypting what is stored with a new key, value by value, while the product goes on.

A value begins with the mark of its key, so that what is left to do is a query. Ending this at any
point changes nothing: each value is either done or as it was, and both are readable.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from django.apps import apps
from django.db.models import BinaryField, Model, QuerySet
from django.db.models.functions import Cast, Substr
from django.utils.text import capfirst

from core.encrypted_fields import EncryptedField
from core.encryption import MARK_BYTES, WrongKey, newest_mark
from core.transactions import transaction_in_line

BATCH = 100  # primary keys, read at once


class Outcome(Enum):
    """The result for one value."""

    ENCRYPTED = auto()
    WAS_DONE = auto()
    UNREADABLE = auto()


@dataclass(frozen=True)
class SecretField:
    """An encrypted field of a model; as text, in words for people."""

    model: type[Model]
    name: str

    def __str__(self) -> str:
        field: Any = self.model._meta.get_field(self.name)
        return f"{capfirst(self.model._meta.verbose_name_plural)} ({field.verbose_name})"

    def all(self) -> QuerySet[Model]:
        """Return all rows that have a value."""
        return self.model._base_manager.filter(**{f"{self.name}__isnull": False})

    def left(self) -> QuerySet[Model]:
        """Return the rows whose value another key than the newest encrypted."""
        mark = Substr(Cast(self.name, BinaryField()), 1, MARK_BYTES, output_field=BinaryField())
        left: QuerySet[Model] = self.all().alias(mark=mark).exclude(mark=newest_mark())
        return left

    def keys_left(self) -> Iterator[Any]:
        """Yield the primary keys of the rows that are left, a batch in memory at a time."""
        left = self.left().order_by("pk").values_list("pk", flat=True)
        keys = list(left[:BATCH])
        while keys:
            yield from keys
            keys = list(left.filter(pk__gt=keys[-1])[:BATCH])

    def describe(self, key: Any) -> str:
        """Say which row that is, without its secrets; empty if it is gone."""
        hidden = [field.name for field in secret_fields() if field.model is self.model]
        row = self.model._base_manager.filter(pk=key).defer(*hidden).first()
        return str(row or "")

    def rotate(self, key: Any) -> Outcome:
        """Re-encrypt the value of one row with the newest key, unless no key reads it."""
        # Held, so that what somebody enters in this moment is not undone.
        with transaction_in_line():
            held = self.left().select_for_update().only(self.name)
            try:
                row = held.filter(pk=key).first()
            except WrongKey:
                return Outcome.UNREADABLE
            if row is None:  # removed, or stored again meanwhile
                return Outcome.WAS_DONE
            row.save(update_fields=[self.name])
        return Outcome.ENCRYPTED


def secret_fields() -> Iterator[SecretField]:
    """Find every encrypted field of every model, so that none is forgotten."""
    for model in apps.get_models():
        for field in model._meta.local_concrete_fields:
            if isinstance(field, EncryptedField):
                yield SecretField(model, field.name)
