"""The page of notices about an integration."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from accounts.mail import mail_obstacle
from accounts.roles import admin_required
from core.keyset import keyset_page
from vcs_integrations.models import Integration

NOTICES_ON_A_PAGE = 50


@require_safe
@admin_required
def notices(request: HttpRequest, pk: int) -> HttpResponse:
    """List the notices, the newest first, and who they were mailed to."""
    found = get_object_or_404(Integration, pk=pk)
    listed = found.notices.prefetch_related("mails").order_by("-pk")
    context = {
        "integration": found,
        "page": keyset_page(request, listed, "pk", NOTICES_ON_A_PAGE),
        "mail_obstacle": mail_obstacle(),
    }
    return render(request, "vcs_integrations/notices/notices.html", context)
