"""What no visitor and no busy database may turn into an error of ours."""

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.deprecation import MiddlewareMixin


class ToleranceMiddleware(MiddlewareMixin):
    """Drop cookies that no database takes, and say so when the database is busy."""

    def process_request(self, request: HttpRequest) -> None:
        for name in [name for name, value in request.COOKIES.items() if "\0" in value]:
            del request.COOKIES[name]

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, OperationalError | InterfaceError):
            return None
        return render(request, "503.html", status=503)
