"""Reading what is stored encrypted, which needs the key that it was stored with."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.signing import BadSignature
from django_cryptography.utils.crypto import InvalidToken


class WrongKey(Exception):
    """What is stored can't be decrypted; as text, a sentence that says so and what to do."""


@contextmanager
def decrypting(what: str) -> Iterator[None]:
    """Raise WrongKey about `what`, like "The state", where it can't be decrypted."""
    try:
        yield
    except (BadSignature, InvalidToken, ValueError):
        raise WrongKey(
            f"{what} can't be decrypted. Start Stackhook with the FIELD_ENCRYPTION_KEY that it was "
            f"stored with."
        ) from None
