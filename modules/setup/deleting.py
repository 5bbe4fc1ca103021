"""Deleting a module: who uses it, and what goes with it."""

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from accounts.tokens.registry_host import host_of
from modules.models import Archive, Module
from stacks.models import Stack


def stacks_using(module: Module) -> list[Stack]:
    """Return the stacks of which a run got the module from the registry, or by git."""
    address = f"{host_of(settings.PUBLIC_URL)}/{module.address}"
    used = Q(runs__registry_sources__address=address)
    used |= Q(runs__module_sources__repository=module.repository_id)
    return list(Stack.objects.filter(used).distinct())


def delete(module: Module) -> None:
    """Delete a module, its versions, and the archives that no other module serves."""
    with transaction.atomic():
        archives = list(module.versions.exclude(archive=None).values_list("archive", flat=True))
        module.delete()
        Archive.objects.filter(pk__in=archives, versions=None).delete()
