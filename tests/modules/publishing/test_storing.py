"""Archives in the database: stored once, read as they were, removed once no version has them."""

import hashlib

import pytest

from modules.models import Archive, ArchiveChunk
from modules.publishing.storing import CHUNK, prune_archives, store

pytestmark = [pytest.mark.django_db, pytest.mark.on_postgresql]
CONTENT = b"0123456789" * 250_000


def test_an_archive_is_stored_once_and_in_parts() -> None:
    archive, again = store(CONTENT), store(CONTENT)
    assert archive == again
    assert (archive.digest, archive.size) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    parts = [bytes(one.content) for one in archive.chunks.all()]
    assert b"".join(parts) == CONTENT
    assert [len(one) for one in parts] == [CHUNK, CHUNK, len(CONTENT) - 2 * CHUNK]
    assert store(b"other") != archive


def test_an_archive_that_no_version_has_is_removed() -> None:
    store(CONTENT)
    prune_archives()
    assert not Archive.objects.exists()
    assert not ArchiveChunk.objects.exists()
