"""Deleting a module, and what goes with it."""

from django.db import transaction

from modules.deciding.moved_tags import withdraw_notices_about
from modules.models import Module
from modules.publishing.storing import prune_archives


def delete(module: Module) -> None:
    """Delete a module, its versions, and the archives that no other module serves."""
    with transaction.atomic():
        withdraw_notices_about(module)
        module.delete()
        prune_archives()
