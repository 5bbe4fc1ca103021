"""The cipher of what is stored encrypted, each value for one place of the database alone.

FIELD_ENCRYPTION_KEY encrypts; FIELD_ENCRYPTION_OLD_KEY decrypts, too, while one replaces the other.
A stored value is a format byte, the id of its key, a nonce, and the output of AES-256-GCM, which
authenticates the place beside the value: moved elsewhere, it can't be decrypted.
"""

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

FORMAT = b"\x01"
KEY_ID_BYTES = 8
NONCE_BYTES = 12  # what NIST SP 800-38D recommends for GCM
MARK_BYTES = len(FORMAT) + KEY_ID_BYTES
# A key is any text; this many rounds make one that is short harder to guess.
ROUNDS = 30_000

OTHER_KEY = (
    "Start Stackhook with the FIELD_ENCRYPTION_KEY that it was stored with, or set that one as "
    "FIELD_ENCRYPTION_OLD_KEY."
)
OTHER_VALUE = (
    "It was changed or moved in the database by something other than Stackhook, or stored by an "
    "early development version. Restore it from a backup."
)


class WrongKey(Exception):
    """What is stored can't be decrypted where it is; as text, sentences that say what to do."""

    def __init__(self, what: str, fix: str = OTHER_KEY) -> None:
        self.cause = f"{what} can't be decrypted."
        self.fix = fix
        super().__init__(f"{self.cause} {self.fix}")


@dataclass(frozen=True)
class Place:
    """Where in the database a value is stored; `row` is the primary key."""

    table: str
    column: str
    row: object

    def __str__(self) -> str:
        return f"{self.table}.{self.column} of row {self.row}"

    def __bytes__(self) -> bytes:
        return json.dumps([self.table, self.column, str(self.row)]).encode()


@dataclass(frozen=True)
class Key:
    """A key as values are encrypted with it; `mark` is what each of them begins with."""

    mark: bytes
    cipher: AESGCM


def encrypt(value: bytes, place: Place) -> bytes:
    """Return what to store in a place."""
    key, nonce = _key(settings.FIELD_ENCRYPTION_KEY), secrets.token_bytes(NONCE_BYTES)
    return key.mark + nonce + key.cipher.encrypt(nonce, value, bytes(place))


def decrypt(stored: bytes, place: Place) -> bytes:
    """Return the value that was stored in a place. Raises WrongKey."""
    if not stored.startswith(FORMAT):
        raise WrongKey(str(place), OTHER_VALUE)
    mark, rest = stored[:MARK_BYTES], stored[MARK_BYTES:]
    key = next((key for key in _keys() if key.mark == mark), None)
    if key is None:
        raise WrongKey(str(place))
    nonce, encrypted = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
    try:
        return key.cipher.decrypt(nonce, encrypted, bytes(place))
    except (InvalidTag, ValueError):  # the latter for a nonce that is cut off
        raise WrongKey(str(place), OTHER_VALUE) from None


def newest_mark() -> bytes:
    """Return what every value begins with that FIELD_ENCRYPTION_KEY encrypted."""
    return _key(settings.FIELD_ENCRYPTION_KEY).mark


@contextmanager
def decrypting(what: str, or_else: str = "") -> Iterator[None]:
    """Raise WrongKey about `what`, like "The state", where it can't be decrypted.

    `or_else` is a sentence about what else there is to do.
    """
    try:
        yield
    except WrongKey as error:
        raise WrongKey(what, f"{error.fix} {or_else}".rstrip()) from None


def _keys() -> list[Key]:
    """Return the keys that are set, the newest first."""
    texts = [settings.FIELD_ENCRYPTION_KEY, settings.FIELD_ENCRYPTION_OLD_KEY]
    return [_key(text) for text in texts if text]


@cache
def _key(text: str) -> Key:
    secret = hashlib.pbkdf2_hmac("sha256", text.encode(), b"stackhook", ROUNDS)
    key_id = _derive(secret, b"stackhook: key id", KEY_ID_BYTES)
    return Key(FORMAT + key_id, AESGCM(_derive(secret, b"stackhook: stored values", 32)))


def _derive(secret: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=purpose).derive(secret)
