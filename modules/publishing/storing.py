"""Storing archives: each once, by its digest, in parts that a database holds and sends well."""

from django.db import transaction
from django.db.models import Exists, OuterRef

from modules.models import Archive, ArchiveChunk, ModuleVersion
from vcs_integrations.providers.base import digest as digest_of

CHUNK = 1024 * 1024  # bytes


def store(content: bytes) -> Archive:
    """Return the archive of this content, stored unless there is one.

    It is for a version that is published in the same transaction: nothing removes it until then.
    """
    digest = digest_of(content)
    with transaction.atomic():
        archive, is_new = Archive.objects.select_for_update().get_or_create(
            digest=digest, defaults={"size": len(content)}
        )
        if is_new:
            ArchiveChunk.objects.bulk_create(
                (
                    ArchiveChunk(
                        archive=archive, number=number, content=content[start : start + CHUNK]
                    )
                    for number, start in enumerate(range(0, len(content), CHUNK))
                ),
                batch_size=8,
            )
    return archive


def prune_archives() -> None:
    """Remove the archives that no version has any more."""
    used = ModuleVersion.objects.filter(archive=OuterRef("pk"))
    unused = Archive.objects.exclude(Exists(used))
    if not unused.exists():  # mostly
        return
    with transaction.atomic():
        # One that is being published again is held, and stays.
        held = [one.pk for one in unused.select_for_update(skip_locked=True)]
        unused.filter(pk__in=held).delete()
