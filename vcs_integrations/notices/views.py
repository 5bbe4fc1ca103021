"""The page of notices about an integration."""

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from accounts.mail import mail_obstacle
from accounts.roles import admin_required
from core.http import HtmxHttpRequest, render_live, version_of
from core.keyset import keyset_page
from vcs_integrations.models import Integration

NOTICES_ON_A_PAGE = 50


@require_safe
@admin_required
def notices(request: HtmxHttpRequest, pk: int) -> HttpResponse:
    """List the notices, the newest first, and who they were mailed to; the page polls them."""
    found = get_object_or_404(Integration, pk=pk)
    listed = found.notices.prefetch_related("mails").order_by("-pk")
    page = keyset_page(request, listed, "pk", NOTICES_ON_A_PAGE)
    return render_live(
        request,
        "vcs_integrations/notices/notices.html",
        "vcs_integrations/notices/notice_table.html",
        version_of([(one.pk, one.withdrawn_at, one.mail_texts) for one in page.rows]),
        {"integration": found, "page": page},
        lambda: {"mail_obstacle": mail_obstacle()},
    )
