"""The list of modules: its search, and what it shows of each module's versions.

However many modules there are, the list takes the same number of queries.
"""

from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, Q
from django.http import QueryDict

from modules.models import Module, ModuleVersion, VersionState
from modules.overview.versions import newest_of

# Rows take most of the time, and people search
MODULES_ON_A_PAGE = 25


@dataclass(frozen=True)
class ModuleList:
    """A page of the list, and what leads on: `query` is the address's, without a page."""

    page: Page[Any]  # modules, with what `_add_versions` adds
    q: str
    query: str

    @property
    def can_change(self) -> bool:
        """Whether versions are being checked."""
        return any(one.counts["waiting"] for one in self.page)


def module_list_of(asked: QueryDict) -> ModuleList:
    """Return the page of the list that an address asks for; what makes no sense is left out."""
    text = asked.get("q", "").replace("\0", "").strip()
    modules = Module.objects.with_repository().matching(text)
    page = Paginator(modules, MODULES_ON_A_PAGE).get_page(asked.get("page"))
    _add_versions(page)
    query = QueryDict(mutable=True)
    query.setlist("q", [text] if text else [])
    return ModuleList(page=page, q=text, query=query.urlencode())


def _add_versions(page: Page[Module]) -> None:
    """Add to the modules of a page their newest version, and how many there are by state."""
    rows: list[Any] = list(page.object_list)
    newest = newest_of(rows)
    is_published = Q(state=VersionState.PUBLISHED)
    counts = (
        ModuleVersion.objects.filter(module__in=rows)
        .order_by()
        .values("module")
        .annotate(
            published=Count("pk", filter=is_published),
            refused=Count("pk", filter=Q(state=VersionState.REFUSED)),
            waiting=Count("pk", filter=Q(state=VersionState.WAITING)),
        )
    )
    by_module = {count["module"]: count for count in counts}
    for row in rows:
        row.newest = newest.get(row.pk)
        row.counts = by_module.get(row.pk, {"published": 0, "refused": 0, "waiting": 0})
    page.object_list = rows
