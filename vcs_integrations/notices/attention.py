"""What needs attention about linked organizations, as it is now: for the banner of every page
of admins, and for the start page.
"""

from dataclasses import dataclass

from django.db.models import Case, F, FilteredRelation, Q, When, Window
from django.db.models.functions import RowNumber
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from accounts.roles import is_admin
from vcs_integrations.models import EXPIRY_NOTICE, Integration, Notice, NoticeKind
from vcs_integrations.providers.base import TRANSIENT

# What integrations themselves show; notices about it are only mailed.
SHOWN_BY_INTEGRATIONS = {
    NoticeKind.TOKEN_ENDS,
    NoticeKind.TOKEN_ENDED,
    NoticeKind.REFUSED,
    NoticeKind.WRONG_KEY,
}
KINDS_SHOWN_HERE = sorted(set(NoticeKind) - SHOWN_BY_INTEGRATIONS)
IN_THE_BANNER = 3
MOST_READ = 50


@dataclass(frozen=True)
class Attention:
    """Something that needs attention: what it is, and where it can be fixed."""

    text: str
    detail: str
    url: str
    link: str
    is_error: bool = False


@dataclass(frozen=True)
class Banner:
    """What is shown on top of every page: the most urgent, and how many more there are."""

    shown: list[Attention]
    more: int


def banner(request: HttpRequest) -> dict[str, object]:
    """Add what needs attention to the templates of admins; one query, where it is shown."""
    if hasattr(request, "user") and is_admin(request):
        return {"banner": SimpleLazyObject(_banner)}
    return {}


def _banner() -> Banner:
    today = timezone.now().date()
    ends = Q(token_expires_on__lte=today + EXPIRY_NOTICE)
    fails = ~Q(problem__in=["", *TRANSIENT]) | Q(token_expires_on__lt=today)
    newest_first = Window(RowNumber(), partition_by="pk", order_by="-unfixed__pk")
    unfixed = FilteredRelation(
        "notices",
        condition=Q(notices__kind__in=KINDS_SHOWN_HERE, notices__withdrawn_at__isnull=True),
    )
    # An integration has a row for each unfixed notice. However many there are, the limit cuts off
    # notices, and never an organization, least of all one that fails.
    rows = (
        Integration.objects.usable()
        .annotate(unfixed=unfixed)
        .annotate(notice_subject=F("unfixed__subject"), place=newest_first)
        .filter(~Q(problem="") | ends | Q(notice_subject__isnull=False))
        .order_by("place", Case(When(fails, then=0), default=1), "pk")[:MOST_READ]
    )
    found: list[Attention | None] = []
    for one in rows:
        if vars(one)["place"] == 1:
            failure = None if one.is_retrying else connection_failure(one, reader_is_admin=True)
            found.append(failure or token_end(one, reader_is_admin=True))
        if subject := vars(one)["notice_subject"]:
            found.append(_unfixed(one, subject, "", reader_is_admin=True))
    shown = sorted(filter(None, found), key=lambda one: not one.is_error)
    return Banner(shown[:IN_THE_BANNER], len(shown[IN_THE_BANNER:]))


def connection_failure(one: Integration, *, reader_is_admin: bool) -> Attention | None:
    """Return that an organization can't be reached, or refuses the token."""
    if not one.problem:
        return None
    again = " Stackhook retries automatically." if one.is_retrying else ""
    return Attention(
        f"Connecting to {one} failed",
        f"{one.problem_cause} {one.problem_fix}{again}",
        *_page(one, reader_is_admin),
        is_error=not one.is_retrying,
    )


def token_end(one: Integration, *, reader_is_admin: bool) -> Attention | None:
    """Return that a token ends soon, or has ended."""
    if not one.token_ends_soon:
        return None
    text = f"The token of {one} {one.token_end_text}"
    has_ended = (one.token_days_left or 0) < 0
    if reader_is_admin:
        detail = f"Create a new one in {one.provider.name} and enter it here."
        edit = reverse("integrations:edit", args=[one.pk])
        return Attention(text, detail, edit, "Replace the token", is_error=has_ended)
    detail = "An admin replaces it under VCS providers."
    return Attention(text, detail, *_page(one, reader_is_admin), is_error=has_ended)


def unfixed_notices(integrations: list[Integration], *, reader_is_admin: bool) -> list[Attention]:
    """Return the other unfixed notices about integrations."""
    unfixed = Notice.objects.unfixed()
    found = unfixed.filter(integration__in=integrations, kind__in=KINDS_SHOWN_HERE)
    return [
        _unfixed(one.integration, one.subject, one.text, reader_is_admin=reader_is_admin)
        for one in found.select_related("integration")[:MOST_READ]
    ]


def _unfixed(one: Integration, text: str, detail: str, *, reader_is_admin: bool) -> Attention:
    return Attention(text, detail, *_page(one, reader_is_admin))


def _page(one: Integration, reader_is_admin: bool) -> tuple[str, str]:
    """Return the page that shows an integration, and what a link to it says."""
    if reader_is_admin:
        return one.get_absolute_url(), "Open the integration"
    return reverse("integrations:list"), "VCS providers"
