"""Model fields that are stored encrypted, bound to their table, column and row.

Only a model instance reads and writes them, as only it knows its row: `create`, `save`,
`bulk_create` and `update_or_create` work; `update` and `bulk_update` raise NotBound, and
`values_list` returns what is Sealed. The primary key has to be known before the first save: a
model whose rows have no natural one takes `new_row_id`. What is written past the instance, like
another primary key or the update of a conflict in `bulk_create`, makes a value unreadable, and so
does renaming its table or column.
"""

import secrets
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import models
from django.db.models.signals import post_init

from core.encryption import Place, decrypt, encrypt

T = TypeVar("T", str, bytes)
# What a dump says in place of a value.
LEFT_OUT = "(encrypted, and not part of a dump)"


class NotBound(ValueError):
    """A value would be stored without being bound to its row."""


def new_row_id() -> int:
    """Return a random primary key, which is known before its row is stored."""
    return secrets.randbits(63)  # a BigIntegerField takes no more


@dataclass(frozen=True, repr=False)
class Sealed:
    """A value as it is stored: all that a query returns which makes no model instance."""

    field: "EncryptedField[Any]"
    stored: bytes

    def open(self, row: object) -> Any:
        """Return the value, of the row with this primary key. Raises WrongKey."""
        return self.field.from_bytes(decrypt(self.stored, self.field.place(row)))


class _Bound(bytes):
    """What may be stored: encrypted for the row that it is written to."""


class EncryptedField(models.Field[T, T]):
    """A value of one `kind` of Python's, stored encrypted."""

    kind: type[T]

    def to_bytes(self, value: T) -> bytes:
        raise NotImplementedError

    def from_bytes(self, value: bytes) -> T:
        raise NotImplementedError

    def place(self, row: object) -> Place:
        """Return where this field of a row is stored."""
        meta = self.model._meta
        return Place(meta.db_table, str(self.column), meta.pk.to_python(row))

    def get_internal_type(self) -> str:
        return "BinaryField"

    def contribute_to_class(
        self, cls: type[models.Model], name: str, private_only: bool = False
    ) -> None:
        super().contribute_to_class(cls, name, private_only)
        if not cls._meta.abstract:
            post_init.connect(self._open_loaded, sender=cls)

    def from_db_value(self, value: Any, *_: Any) -> Sealed | None:
        if value is None:
            return None
        # SQLite keeps whatever type somebody else stored.
        return Sealed(self, bytes(value) if isinstance(value, bytes | memoryview) else b"")

    def _open_loaded(self, instance: models.Model, **_: Any) -> None:
        """Decrypt what was loaded, if it was not deferred. Raises WrongKey."""
        value = instance.__dict__.get(self.attname)
        if isinstance(value, Sealed):
            instance.__dict__[self.attname] = value.open(instance.pk)

    def pre_save(self, instance: models.Model, add: bool) -> _Bound | None:
        value = getattr(instance, self.attname)
        if value is None:
            return None
        if not isinstance(value, self.kind):
            raise TypeError(f"{self} takes {self.kind.__name__}, not {type(value).__name__}.")
        if instance.pk is None:
            raise NotBound(f"{self} needs a row whose primary key is known.")
        return _Bound(encrypt(self.to_bytes(value), self.place(instance.pk)))

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        if value is not None and not isinstance(value, _Bound):
            raise NotBound(
                f"{self} is encrypted for one row: set it on an instance and save that. A row that "
                f"has it can't be loaded from a dump, which leaves it out."
            )
        return value if value is None else connection.Database.Binary(value)

    def get_lookup(self, lookup_name: str) -> type[models.Lookup[Any]] | None:
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None

    def value_to_string(self, obj: models.Model) -> str:
        return LEFT_OUT


class EncryptedTextField(EncryptedField[str]):
    """Text, stored encrypted."""

    kind = str

    def to_bytes(self, value: str) -> bytes:
        return value.encode()

    def from_bytes(self, value: bytes) -> str:
        return value.decode()


class EncryptedBytesField(EncryptedField[bytes]):
    """Bytes, stored encrypted."""

    kind = bytes

    def to_bytes(self, value: bytes) -> bytes:
        return value

    def from_bytes(self, value: bytes) -> bytes:
        return value
