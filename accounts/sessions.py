"""Sessions whose keys a copy of the database doesn't show: it has a digest of each."""

import hashlib
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.utils import timezone


class SessionStore(DatabaseStore):
    """Django's store, where the cookie has the key and the table its digest."""

    # The database store's own would ask for the key itself.
    aload, aexists = SessionBase.aload, SessionBase.aexists
    acreate, asave, adelete = SessionBase.acreate, SessionBase.asave, SessionBase.adelete

    def load(self) -> dict[str, Any]:
        stored = self.model.objects.filter(
            session_key=digest_of(str(self.session_key)), expire_date__gt=timezone.now()
        ).first()
        if stored is None:
            self._session_key = None
            return {}
        return self.decode(stored.session_data)

    def exists(self, session_key: str) -> bool:
        return super().exists(digest_of(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        instance = super().create_model_instance(data)
        instance.session_key = digest_of(instance.session_key)
        return instance

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key:
            super().delete(digest_of(key))


def digest_of(key: str) -> str:
    """Return what the table has in place of a key: as long as its column, 160 bits in hex.

    Keys are random and long, so that the digest needs no salt and no slow function.
    """
    return hashlib.blake2b(key.encode(errors="replace"), digest_size=20).hexdigest()
