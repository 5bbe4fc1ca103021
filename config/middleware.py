"""What holds for every answer: no copies of it, no strangers' large bodies, and no errors of a
visitor's cookies or a busy database."""

from collections.abc import Callable

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve
from django.utils.cache import add_never_cache_headers
from django.utils.deprecation import MiddlewareMixin

TOO_LARGE = (
    "This request is too large to be read before you sign in. Sign in and send it again. "
    f"Until then, a request has at most {settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024 // 1024} MB "
    "and says its size.\n"
)


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


# Programs get these, which take no time to work out; a page's policy lets more be loaded.
NOTHING_TO_SHOW = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
}


class WebhooksMiddleware:
    """Answer webhooks here: programs have no session, sign no form, and show nothing to anybody.

    A page below the same path, if there ever is one, goes the way of all pages.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith("/webhooks/"):
            return self.get_response(request)
        try:
            view, args, kwargs = resolve(request.path_info)
        except Resolver404:
            return self.get_response(request)
        if getattr(view, "login_required", True) or not getattr(view, "csrf_exempt", False):
            return self.get_response(request)
        request.get_host()  # raises DisallowedHost for one that is not ours
        response: HttpResponse = view(request, *args, **kwargs)
        for name, value in NOTHING_TO_SHOW.items():
            response[name] = value
        response["Content-Length"] = str(len(response.content))
        return response


class StrangersBodyMiddleware(MiddlewareMixin):
    """Refuse a stranger's large body unread: the check of a form's token would keep it in memory.

    Views without that check verify a password before they read. Of a body in chunks nobody knows
    the size, and no browser sends a form that way.
    """

    def process_view(
        self,
        request: HttpRequest,
        view: Callable[..., HttpResponse],
        args: object,
        kwargs: object,
    ) -> HttpResponse | None:
        if getattr(view, "csrf_exempt", False):
            return None
        length = request.META.get("CONTENT_LENGTH") or "0"
        is_small = (
            length.isdecimal()
            and int(length) <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE
            and "Transfer-Encoding" not in request.headers
        )
        if is_small or request.user.is_authenticated:
            return None
        return HttpResponse(TOO_LARGE, status=413, content_type="text/plain; charset=utf-8")
