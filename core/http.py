"""What views share: the request they get, what acts on POST, and what polls."""

from collections.abc import Callable, Mapping
from functools import wraps
from hashlib import sha256
from typing import Concatenate, ParamSpec, TypeVar
from urllib.parse import urlsplit

from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django_htmx.middleware import HtmxDetails

P = ParamSpec("P")
R = TypeVar("R", bound=HttpRequest)
View = Callable[Concatenate[R, P], HttpResponseBase]


class HtmxHttpRequest(HttpRequest):
    """A request as the middleware hands it to views: `htmx` is true where htmx sent it."""

    htmx: HtmxDetails


def post_or_redirect(page: Callable[P, Model | str]) -> Callable[[View[R, P]], View[R, P]]:
    """Have a view act on POST, and redirect any other method to the page that its button is on.

    `page` gets the arguments of the view without the request, and returns that page's URL or an
    object that has it. The query stays, as it may hold the filters of a list.
    """

    def decorator(view: View[R, P]) -> View[R, P]:
        @wraps(view)
        def wrapper(request: R, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if request.method == "POST":
                return view(request, *args, **kwargs)
            url = urlsplit(resolve_url(page(*args, **kwargs)))
            return redirect(url._replace(query=request.GET.urlencode()).geturl())

        return wrapper

    return decorator


def digest_of(*shown: object) -> str:
    """Return a digest of what a live part shows, which tells versions of it apart."""
    return sha256(repr(shown).encode()).hexdigest()[:16]


def version_of(*shown: object) -> str:
    """Return such a digest that changes every minute, too, as ages do."""
    return digest_of(shown, timezone.now().replace(second=0, microsecond=0))


def render_live(
    request: HtmxHttpRequest,
    page: str,
    part: str,
    version: str,
    context: Mapping[str, object],
    page_only: Callable[[], Mapping[str, object]] = dict,
) -> HttpResponse:
    """Return a page, or its live part to what htmx asks for, both from templates.

    `page_only` reads what else the page shows: no poll waits for that. The answer is empty (204) as
    long as the page that polls shows that version of the part. A form that htmx sends in place of
    the browser leads to a page.
    """
    is_part = bool(request.htmx) and not request.htmx.boosted
    if is_part and request.GET.get("version") == version:
        response = HttpResponse(status=204)
    else:
        shown = {**context, "part": part, "live_version": version, "is_part": is_part}
        if not is_part:
            shown |= page_only()
        response = render(request, "live.html" if is_part else page, shown)
    patch_vary_headers(response, ["HX-Request"])  # one address, a page and a part of it
    return response
