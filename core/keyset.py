"""Pages of lists that only grow: each begins after the last row of the one before.

However long a list is, a page costs the same, and nothing is counted.
"""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class KeysetPage(Generic[M]):
    """The rows of a page, newest first, and what leads on.

    `older` is where the next page begins, None on the last one; `filters` is the rest of the
    address's query, which the links to other pages keep.
    """

    rows: list[M]
    older: Any
    is_first: bool
    filters: str


def is_key(text: str) -> bool:
    """Say whether what somebody sent can be a row's key."""
    return text.isascii() and text.isdigit() and len(text) < 19


def before_in(request: HttpRequest) -> int | None:
    """Return the key below which a page begins; None on the first, and where it makes no sense."""
    before = request.GET.get("before", "")
    return int(before) if is_key(before) else None


def keyset_page(request: HttpRequest, rows: QuerySet[M], key: str, size: int) -> KeysetPage[M]:
    """Return the page of rows below `?before=`, by a key that they are ordered by."""
    before = before_in(request)
    below = rows if before is None else rows.filter(**{f"{key}__lt": before})
    return page_of(request, list(below[: size + 1]), key, size)


def page_of(request: HttpRequest, found: list[M], key: str, size: int) -> KeysetPage[M]:
    """Return the page of rows that were found below `?before=`: one more than it has, if any."""
    filters = request.GET.copy()
    for name in ("before", "version"):  # only a live part sends the version that it shows
        filters.pop(name, None)
    return KeysetPage(
        rows=found[:size],
        older=getattr(found[size - 1], key) if len(found) > size else None,
        is_first=before_in(request) is None,
        filters=filters.urlencode(),
    )
