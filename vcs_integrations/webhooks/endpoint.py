"""The webhook endpoint: the only view that strangers reach.

Authenticate, store, answer. The worker decides later what a delivery leads to. Providers react to
answers differently: some retry only after 503, and disable a hook after 410.
"""

import logging
import uuid
from functools import cache, partial
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError, connection
from django.db.models import FilteredRelation, Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts.audit.records import SecurityEvent
from accounts.audit.refusals import record_refusal
from core.encryption import WrongKey
from vcs_integrations.models import Delivery, Endpoint, Integration, WebhookSecret
from vcs_integrations.providers import provider_by_slug
from vcs_integrations.providers.base import Outcome, Provider, Refused, digest
from vcs_integrations.webhooks.storing import store

logger = logging.getLogger(__name__)

CHUNK = 64 * 1024
# In the order of the models' fields
INTEGRATION_NEEDED = ("id", "provider_key", "unlinked_at")
SECRET_NEEDED = ("id", "digest")


class UnreadableBody(Exception):
    """The body broke off or is not sent as HTTP wants it."""


class TooLarge(Exception):
    """The body is larger than the limit."""


@csrf_exempt
@login_not_required
@require_POST
def receive(request: HttpRequest, provider_slug: str, endpoint: str) -> HttpResponse:
    """Answer a webhook request; see product documentation for the meaning of each status."""
    try:
        return _receive(request, provider_slug, endpoint)
    except UnreadableBody:
        return _answer(400, "The body could not be read to its end.")
    except TooLarge:
        return _answer(413, "The body is larger than 4 MB.")
    except (DatabaseError, InterfaceError) as error:
        logger.error("A webhook request could not be stored: %s", error.__class__.__name__)
        return _again("The request could not be stored; send it again.")
    except (WrongKey, WebhookSecret.DoesNotExist) as error:
        logger.error("A webhook password could not be read: %s", error.__class__.__name__)
        return _again("The webhook password could not be read; send the request again.")


def _receive(request: HttpRequest, provider_slug: str, endpoint: str) -> HttpResponse:
    integration, secrets = _find(provider_slug, endpoint)
    if integration is None:
        return _answer(404, "There is no such endpoint.")
    if not integration.is_linked:
        return _answer(410, "This organization is no longer linked.")
    provider = integration.provider
    # The provider reads it only once that can't make the server wait for a stranger.
    read_body = cache(partial(_read_body, request))
    received = provider.receive(request.headers, read_body, secrets)
    if isinstance(received, Refused):
        record_refusal(request, SecurityEvent.WEBHOOK_REFUSED, integration, received.reason)
        answer = _answer(401, received.reason)
        if received.challenge:
            answer["WWW-Authenticate"] = received.challenge
        return answer
    envelope, secret = received
    body = read_body()
    delivery = Delivery(
        integration=integration,
        outcome=envelope.outcome,
        reason=envelope.reason[:200],
        event_type=envelope.event_type,
        subscription_id=envelope.subscription_id,
        notification_id=envelope.notification_id,
        repository_id=envelope.repository_id,
        repository_name=envelope.repository_name,
        project_id=envelope.project_id,
        password_mark=secret.mark,
        headers=_kept_headers(provider, request),
        body=body,
        body_digest=digest(body),
        due_at=timezone.now() if envelope.outcome == Outcome.STORED else None,
    )
    store(delivery)
    return _answer(200, delivery.outcome_text)


def _read_body(request: HttpRequest) -> bytes:
    """Return the body. Raises UnreadableBody and TooLarge.

    A body that is too large is read for a while but not kept: a sender that is still
    writing would see a broken connection instead of the answer.
    """
    chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    # Django reads as much as Content-Length says, which is nothing for a chunked body.
    stream = request.META["wsgi.input"] if chunked else request
    body = bytearray()
    size = 0
    while size <= 4 * settings.WEBHOOK_BODY_LIMIT and (chunk := _read_chunk(stream)):
        size += len(chunk)
        if size <= settings.WEBHOOK_BODY_LIMIT:
            body += chunk
    if size > settings.WEBHOOK_BODY_LIMIT:
        raise TooLarge
    if not chunked and size < int(request.META.get("CONTENT_LENGTH") or 0):
        raise UnreadableBody
    return bytes(body)


def _read_chunk(stream: Any) -> bytes:
    """Read on; each web server has errors of its own for a body that breaks off."""
    try:
        chunk: bytes = stream.read(CHUNK)
    except Exception as error:
        raise UnreadableBody from error
    return chunk


def _find(provider_slug: str, endpoint: str) -> tuple[Integration | None, list[WebhookSecret]]:
    """Return the integration that an endpoint leads to, linked or not, and its valid secrets.

    They have their digests; a `value` is read and decrypted where it is used.
    """
    try:
        endpoint_uuid = uuid.UUID(endpoint)
    except ValueError:
        return None, []
    provider = provider_by_slug(provider_slug)
    column = Endpoint._meta.get_field("uuid")
    sought = [
        connection.ops.adapt_datetimefield_value(timezone.now()),
        column.get_db_prep_value(endpoint_uuid, connection),
        provider.key if provider else "",
    ]
    with connection.cursor() as cursor:  # `Integration.objects.raw` takes twice as long
        cursor.execute(_finding_statement(), sought)
        rows = cursor.fetchall()  # one for each secret; where there is none, one without
    if not rows:
        return None, []
    # The raw value: it only matters whether `unlinked_at` is set.
    integration = Integration.from_db(connection.alias, INTEGRATION_NEEDED, rows[0][:3])
    secrets = [
        WebhookSecret.from_db(connection.alias, SECRET_NEEDED, row[3:]) for row in rows if row[3]
    ]
    return integration, secrets


@cache
def _finding_statement() -> str:
    """Return the query of `_find`: building it takes longer than running it."""
    now = timezone.now()
    valid = FilteredRelation("webhook_secrets", condition=~Q(webhook_secrets__valid_until__lte=now))
    rows = (
        Integration.objects.annotate(secret=valid)
        .filter(endpoints__uuid=uuid.UUID(int=0))
        .filter(provider_key="")
        .values_list(*INTEGRATION_NEEDED, *(f"secret__{name}" for name in SECRET_NEEDED))
    )
    statement, _ = rows.order_by().query.sql_with_params()
    return statement


def _kept_headers(provider: Provider, request: HttpRequest) -> dict[str, str]:
    """Return the headers worth keeping; Authorization is not among them."""
    sent = {name: request.headers.get(name, "")[:200] for name in provider.kept_headers}
    return {name: value.replace("\0", "") for name, value in sent.items() if value}


def _again(text: str) -> HttpResponse:
    answer = _answer(503, text)
    answer["Retry-After"] = "10"
    return answer


def _answer(status: int, text: str) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")
