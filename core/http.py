"""What views share."""

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails


class HtmxHttpRequest(HttpRequest):
    """A request as the middleware hands it to views: `htmx` is true where htmx sent it."""

    htmx: HtmxDetails
