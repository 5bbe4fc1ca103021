"""Error pages: what they may show, and those that must not read the request again."""

import sys
from collections.abc import ItemsView
from types import FrameType
from typing import Any

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.debug import SafeExceptionReporterFilter


class HideValues(SafeExceptionReporterFilter):
    """Hide local variables and what forms sent, also with DEBUG on: they may hold a token."""

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        sent = request.POST if request else {}
        return dict.fromkeys(sent, self.cleansed_substitute)

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        return dict.fromkeys(tb_frame.f_locals, self.cleansed_substitute).items()


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what can't be understood; Django's own page would try to read it again."""
    return HttpResponse(render_to_string("400.html"), status=400)


def csrf_failure(request: HttpRequest, reason: str) -> HttpResponse:
    """Answer a form without a valid CSRF token: its page is opened again with a fresh one."""
    return render(request, "403_csrf.html", status=403)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer after a fault of ours, without touching the request.

    A database that is away before a view is reached, when the session is read, is no such fault.
    """
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        return HttpResponse(render_to_string("503.html"), status=503)
    return HttpResponse(render_to_string("500.html"), status=500)
