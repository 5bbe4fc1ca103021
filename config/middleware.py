"""What holds for every answer: no copies of it, and no errors of visitors or a busy database."""

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers
from django.utils.deprecation import MiddlewareMixin


class NoStoreMiddleware(MiddlewareMixin):
    """Have no browser or proxy keep a copy: pages, logs and states are for who is signed in.

    Static files are served before this, and may be kept.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        add_never_cache_headers(response)
        return response


class ToleranceMiddleware(MiddlewareMixin):
    """Drop cookies that no database takes, and say so when the database is busy."""

    def process_request(self, request: HttpRequest) -> None:
        for name in [name for name, value in request.COOKIES.items() if "\0" in value]:
            del request.COOKIES[name]

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, OperationalError | InterfaceError):
            return None
        return render(request, "503.html", status=503)
