"""Personal tokens: made, shown once, looked up and revoked."""

import hashlib
import secrets
from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import PersonalToken, User
from accounts.roles import role_of, with_role

# By it, people and scanners of code recognize a token that leaked.
PREFIX = "stackhook_"
RANDOM_BYTES = 32
BETWEEN_NOTES_OF_USE = timedelta(minutes=1)


def create_token(person: User, name: str, days: int | None) -> tuple[PersonalToken, str]:
    """Store a new token of a person; return it and its value, which is nowhere else.

    It expires after so many days, or never.
    """
    value = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    expires_at = timezone.now() + timedelta(days=days) if days else None
    token = PersonalToken.objects.create(
        user=person, name=name, digest=digest_of(value), expires_at=expires_at
    )
    return token, value


def valid_token(value: str) -> PersonalToken | None:
    """Return the token of a value, with its person, and note that it is used; None if none holds.

    It is noted at most once a minute.
    """
    found = PersonalToken.objects.filter(digest=digest_of(value)).first()
    if found is None or found.has_ended:
        return None
    person = with_role(User.objects.filter(pk=found.user_id)).first()
    if person is None or role_of(person) is None:
        return None
    found.user = person
    _note_use(found)
    return found


def revoke(tokens: QuerySet[PersonalToken]) -> bool:
    """Revoke tokens; say whether any held until then."""
    return bool(tokens.filter(revoked_at=None).update(revoked_at=timezone.now()))


def digest_of(value: str) -> str:
    """Return what the table has in place of a value: with 256 random bits a fast hash is enough."""
    return hashlib.sha256(value.encode(errors="replace")).hexdigest()


def _note_use(token: PersonalToken) -> None:
    now = timezone.now()
    noted = token.last_used_at
    if noted is None or noted <= now - BETWEEN_NOTES_OF_USE:
        same = PersonalToken.objects.filter(pk=token.pk, last_used_at=noted)
        same.update(last_used_at=now)
