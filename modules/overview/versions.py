"""Which version of a module is its newest, and what has been found out about versions."""

from collections.abc import Sequence
from typing import Any

from django.db.models import OuterRef, Subquery
from django.db.models.functions import Coalesce

from modules.models import Check, Module, ModuleVersion


def newest_of(modules: Sequence[Module]) -> dict[int, ModuleVersion]:
    """Return the newest listed version of each module by the module's key, with one query.

    It is a prerelease only where there is no release, and comes without its long texts.
    """
    listed = ModuleVersion.objects.filter(module=OuterRef("pk")).listed().newest_first()
    release = Subquery(listed.releases().values("pk")[:1])
    keys = (
        Module.objects.filter(pk__in=[one.pk for one in modules])
        .order_by()
        .values(key=Coalesce(release, Subquery(listed.values("pk")[:1])))
    )
    found = ModuleVersion.objects.filter(pk__in=keys).without_texts()
    return {one.module_id: one for one in found}


def with_checks(module: Module, versions: Sequence[ModuleVersion]) -> list[Any]:
    """Return versions of a module, each with the check of its commit as `check_of_it`."""
    checks = Check.objects.filter(module=module, sha__in={one.sha for one in versions})
    by_sha = {one.sha: one for one in checks.defer("log")}
    rows: list[Any] = list(versions)
    for row in rows:
        row.module = module
        row.check_of_it = by_sha.get(row.sha)
    return rows
