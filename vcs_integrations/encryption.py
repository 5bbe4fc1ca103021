"""What is stored encrypted: with FIELD_ENCRYPTION_KEY, and read with FIELD_ENCRYPTION_OLD_KEY, too.

Both keys are set while one takes the place of the other. A text is the key for encrypting and for
signing alike, so that nothing but it is needed to read, and a wrong one is told for sure.
"""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import django_cryptography.fields
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models

F = TypeVar("F", bound="models.Field[Any, Any]")
# A key is any text; this many rounds make one that is short harder to guess.
ROUNDS = 30_000


class WrongKey(Exception):
    """What is stored can't be decrypted; as text, sentences that say so and what to do."""

    def __init__(self, what: str) -> None:
        self.cause = f"{what} can't be decrypted."
        self.fix = (
            "Start Stackhook with the FIELD_ENCRYPTION_KEY that it was stored with, or set that "
            "one as FIELD_ENCRYPTION_OLD_KEY."
        )
        super().__init__(f"{self.cause} {self.fix}")


class Keys:
    """What encrypted fields encrypt with: the keys as they are set."""

    def encrypt(self, data: bytes) -> bytes:
        return _all_keys().encrypt(data)

    def decrypt(self, stored: bytes, ttl: int | None = None) -> bytes:
        return _all_keys().decrypt(stored, ttl)


def encrypt(field: F) -> F:
    """Return a model field that is stored encrypted; the value of another key raises on loading."""
    encrypted: Any = django_cryptography.fields.encrypt(field)
    # The package knows one key, derived when it is imported, and signs with SECRET_KEY.
    encrypted._fernet = Keys()
    return encrypted  # type: ignore[no-any-return]


@contextmanager
def decrypting(what: str) -> Iterator[None]:
    """Raise WrongKey about `what`, like "The state", where it can't be decrypted."""
    try:
        yield
    except InvalidToken:
        raise WrongKey(what) from None


def is_encrypted_with_new_key(stored: bytes) -> bool:
    """Say whether stored bytes are readable with FIELD_ENCRYPTION_KEY alone."""
    try:
        _key(settings.FIELD_ENCRYPTION_KEY).decrypt(stored)
    except InvalidToken:
        return False
    return True


def encrypt_anew(stored: bytes) -> bytes:
    """Return stored bytes as FIELD_ENCRYPTION_KEY encrypts them. Raises WrongKey."""
    with decrypting("What is stored"):
        return _all_keys().rotate(stored)


def _all_keys() -> MultiFernet:
    """Return the keys that are set; the first one encrypts."""
    texts = [settings.FIELD_ENCRYPTION_KEY, settings.FIELD_ENCRYPTION_OLD_KEY]
    return MultiFernet([_key(text) for text in texts if text])


@cache
def _key(text: str) -> Fernet:
    derived = hashlib.pbkdf2_hmac("sha256", text.encode(), b"stackhook", ROUNDS)
    return Fernet(base64.urlsafe_b64encode(derived))
