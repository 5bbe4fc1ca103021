"""The registry as Terraform and OpenTofu ask it.

https://developer.hashicorp.com/terraform/internals/module-registry-protocol and
https://developer.hashicorp.com/terraform/internals/remote-service-discovery name the requests,
https://opentofu.org/docs/internals/module-registry-protocol/ what OpenTofu reads otherwise.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Concatenate, ParamSpec
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import IntegrityError, transaction
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_safe

from accounts.throttling import refuse_token
from modules.models import Archive, Module, ModuleVersion
from modules.registry.asking import Asker, asker_of, bearer_of
from modules.registry.links import link_to, version_of
from modules.rules.semver import InvalidVersion, SemVer

P = ParamSpec("P")
BASE = "registry/v1/modules/"
OPENTOFU = "OpenTofu/"


def for_programs(
    view: Callable[Concatenate[HttpRequest, Asker, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """Let a view answer whose token holds; others learn nothing, also not what there is.

    What the token is not for, and what there is not, are the same 404.
    """

    @login_not_required
    @require_safe
    @wraps(view)
    def wrapper(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        token = bearer_of(request)
        asker = asker_of(token)
        if asker is None:
            has_too_many = bool(token) and refuse_token(request)
            return _refusal(429) if has_too_many else _refusal(401)
        try:
            return view(request, asker, *args, **kwargs)
        except Http404:
            return JsonResponse({"errors": ["Not found"]}, status=404)

    return wrapper


def _refusal(status: int) -> HttpResponse:
    if status == 429:  # without Retry-After: Terraform would wait that long, silently
        return JsonResponse({"errors": ["Too many wrong tokens: wait 5 minutes"]}, status=status)
    answer = JsonResponse({"errors": ["A valid token is needed"]}, status=status)
    answer["WWW-Authenticate"] = 'Bearer realm="Stackhook modules"'
    return answer


@login_not_required
@require_safe
def discovery(request: HttpRequest) -> HttpResponse:
    """Say where the registry of modules is ("Remote Service Discovery", "Discovery Process")."""
    return JsonResponse({"modules.v1": f"{urlsplit(settings.PUBLIC_URL).path}/{BASE}"})


@for_programs
def versions(
    request: HttpRequest, asker: Asker, namespace: str, name: str, system: str
) -> HttpResponse:
    """List the versions of a module ("List Available Versions for a Specific Module")."""
    module = _module(asker, namespace, name, system)
    numbers = asker.listed_versions(module).newest_first().values_list("number", flat=True)
    listed = [{"version": number} for number in numbers]
    return JsonResponse({"modules": [{"versions": listed}]})


@for_programs
def download(
    request: HttpRequest, asker: Asker, namespace: str, name: str, system: str, version_number: str
) -> HttpResponse:
    """Say where a version is loaded ("Download Source Code for a Specific Module Version").

    A yanked one, too: it was asked for exactly. Terraform reads the header alone, and its protocol
    says 204. OpenTofu's says 200 and a body.
    """
    version = _version(_module(asker, namespace, name, system), version_number)
    if request.method != "HEAD":
        _count(asker, version)
    link = link_to(version)
    if request.headers.get("User-Agent", "").startswith(OPENTOFU):
        answer: HttpResponse = JsonResponse({"location": link})
    else:
        answer = HttpResponse(status=204)
    answer["X-Terraform-Get"] = link
    return answer


@login_not_required
@require_safe
def archive(request: HttpRequest, signed: str) -> HttpResponseBase:
    """Send an archive to whoever has a link that holds."""
    version = version_of(signed)
    if version is None or version.archive is None:
        return HttpResponse(
            "This link does not hold any more: run init again.\n",
            status=404,
            content_type="text/plain; charset=utf-8",
        )
    answer: HttpResponse | StreamingHttpResponse
    if request.method == "HEAD":
        answer = HttpResponse(content_type="application/gzip")
    else:
        answer = StreamingHttpResponse(
            _content_of(version.archive), content_type="application/gzip"
        )
    module = version.module
    file_name = f"{module.namespace}-{module.name}-{module.system}-{version.number}.tar.gz"
    answer["Content-Length"] = str(version.archive.size)
    answer["Content-Disposition"] = content_disposition_header(True, file_name) or "attachment"
    answer["ETag"] = f'"{version.archive.digest}"'
    return answer


def _module(asker: Asker, namespace: str, name: str, system: str) -> Module:
    return get_object_or_404(asker.modules, namespace=namespace, name=name, system=system)


def _version(module: Module, number: str) -> ModuleVersion:
    try:
        wanted = SemVer.parse(number)
    except InvalidVersion as error:
        raise Http404 from error
    published = module.versions.published().without_texts()
    return get_object_or_404(published, precedence=wanted.precedence)


def _count(asker: Asker, version: ModuleVersion) -> None:
    try:
        with transaction.atomic():
            asker.note_download(version)
            ModuleVersion.objects.filter(pk=version.pk).update(downloads=F("downloads") + 1)
    except IntegrityError as error:  # who asks, or the module, was removed in this moment
        raise Http404 from error


def _content_of(archive: Archive) -> Iterator[bytes]:
    """Yield an archive chunk by chunk; no more than one is in memory."""
    for pk in list(archive.chunks.values_list("pk", flat=True)):
        yield bytes(archive.chunks.values_list("content", flat=True).get(pk=pk))
