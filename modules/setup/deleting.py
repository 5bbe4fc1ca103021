"""Deleting a module, and what goes with it."""

from django.db import transaction

from modules.deciding.moved_tags import withdraw_notices_about
from modules.models import Archive, Module


def delete(module: Module) -> None:
    """Delete a module, its versions, and the archives that no other module serves."""
    with transaction.atomic():
        archives = list(module.versions.exclude(archive=None).values_list("archive", flat=True))
        withdraw_notices_about(module)
        module.delete()
        Archive.objects.filter(pk__in=archives, versions=None).delete()
