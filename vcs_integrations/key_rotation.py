"""Encrypting what is stored with a new key, value by value; reading goes on meanwhile.

Whatever ends it changes nothing: each value is either done or as it was, and both are readable.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from django.apps import apps
from django.db.models import BinaryField, Model, QuerySet, Value
from django.db.models.functions import Cast
from django.utils.text import capfirst
from django_cryptography.fields import EncryptedMixin

from vcs_integrations.encryption import WrongKey, encrypt_anew, is_encrypted_with_new_key
from vcs_integrations.transactions import transaction_in_line


class Outcome(Enum):
    """What became of one value."""

    ENCRYPTED_ANEW = auto()
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

    def keys(self) -> list[Any]:
        """Return the primary keys of all rows that have a value."""
        rows = self.model._base_manager.filter(**{f"{self.name}__isnull": False})
        return list(rows.order_by("pk").values_list("pk", flat=True))

    def describe(self, key: Any) -> str:
        """Say which row that is, without its secrets; empty where it is gone."""
        hidden = [field.name for field in secret_fields() if field.model is self.model]
        row = self.model._base_manager.filter(pk=key).defer(*hidden).first()
        return str(row or "")

    def rotate(self, key: Any) -> Outcome:
        """Have the value of one row encrypted with the new key, unless neither key reads it."""
        row = self.model._base_manager.filter(pk=key)
        # Held, so that what somebody enters in this moment is not undone.
        with transaction_in_line():
            stored = self._stored(row.select_for_update())
            if stored is None or is_encrypted_with_new_key(stored):
                return Outcome.WAS_DONE
            try:
                anew = encrypt_anew(stored)
            except WrongKey:
                return Outcome.UNREADABLE
            row.update(**{self.name: Value(anew, BinaryField())})
        return Outcome.ENCRYPTED_ANEW

    def _stored(self, row: QuerySet[Model]) -> bytes | None:
        """Return the bytes as they are stored; None where the row, or its value, is gone."""
        stored = row.values_list(Cast(self.name, BinaryField()), flat=True).first()
        return None if stored is None else bytes(stored)


def secret_fields() -> Iterator[SecretField]:
    """Find every encrypted field of every model, so that none is forgotten."""
    for model in apps.get_models():
        for field in model._meta.local_concrete_fields:
            if isinstance(field, EncryptedMixin):
                yield SecretField(model, field.name)
