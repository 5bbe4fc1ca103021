"""Notices to admins about an integration: each once, by email and on pages."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.mail import addresses_of_admins
from vcs_integrations.models import EXPIRY_NOTICE, Integration, Notice, NoticeKind, NoticeMail
from vcs_integrations.providers.base import Problem, ProviderError

# Days before a token's end at which admins are notified.
STAGES = (EXPIRY_NOTICE.days, 14, 7, 1)
OF_TOKEN = {NoticeKind.TOKEN_ENDS, NoticeKind.TOKEN_ENDED}


def notify(
    integration: Integration,
    kind: NoticeKind,
    key: str,
    subject: str,
    text: str,
    *,
    by_mail: bool = True,
) -> None:
    """Notify the admins, unless they were notified already.

    `key` says which one of its kind it is, a project's id for example. `subject` is a short
    sentence without a period that names the integration, `text` the sentences that say what
    to do; both go by e-mail, so they hold no secret. Until `withdraw` the notice is not
    repeated, and is shown on the pages of admins, except for the kinds that integrations themselves
    show (`attention.SHOWN_BY_INTEGRATIONS`). Not `by_mail` if another mail covers it.
    """
    same = Notice.objects.unfixed().filter(integration=integration, kind=kind, key=key)
    if same.exists():
        return
    said = {"subject": " ".join(subject.split())[:200], "text": text[:1000]}
    with transaction.atomic():
        notice, is_new = same.get_or_create(
            defaults=said, integration=integration, kind=kind, key=key
        )
        if is_new and by_mail and settings.SENDS_EMAIL:
            NoticeMail.objects.bulk_create(
                NoticeMail(notice=notice, address=address) for address in addresses_of_admins()
            )


def withdraw(integration: Integration, *kinds: NoticeKind, key: str | None = None) -> None:
    """Mark notices as fixed, all of these kinds or the one with that key.

    They stay only in the record, mails that wait are not sent, and admins are notified again if the
    cause returns.
    """
    notices = Notice.objects.filter(integration=integration, kind__in=kinds)
    (notices if key is None else notices.filter(key=key)).withdraw()


def notify_of_token_ends() -> None:
    """Notify of tokens that end soon or have ended, each stage once for a date.

    A stage that passed while no worker ran is skipped. A new date fixes the notices about the old
    one, which are not repeated if the old date returns.
    """
    for notice in Notice.objects.unfixed().filter(kind__in=OF_TOKEN).select_related("integration"):
        if not notice.key.startswith(str(notice.integration.token_expires_on)):
            Notice.objects.filter(pk=notice.pk).withdraw()
    soon = timezone.now().date() + EXPIRY_NOTICE
    for integration in Integration.objects.usable().filter(token_expires_on__lte=soon):
        kind, key = _token_stage(integration)
        if kind and not integration.notices.filter(kind=kind, key=key).exists():
            verb = "ended" if kind == NoticeKind.TOKEN_ENDED else "ends"
            subject = f"The token of {integration} {integration.token_end_text}"
            text = (
                f"It {verb} on {integration.token_expires_on}. Without a token nothing is read or "
                f"reported, and no run continues. Create a new one in {integration.provider.name} "
                f"and enter it here."
            )
            notify(integration, kind, key, subject, text)


def notify_of_refusal(integration: Integration, error: ProviderError) -> None:
    """Notify of a failure that a person has to fix, once until a call succeeds."""
    if error.is_transient:
        return
    is_key = error.problem == Problem.WRONG_KEY
    kind = NoticeKind.WRONG_KEY if is_key else NoticeKind.REFUSED
    notify(integration, kind, "", f"Connecting to {integration} failed", str(error))


def prune_notices() -> None:
    """Delete the notices that were fixed long ago, with their mails."""
    oldest = timezone.now() - timedelta(days=settings.DELIVERY_RETENTION_DAYS)
    Notice.objects.filter(withdrawn_at__lt=oldest).delete()


def is_still_so(notice: Notice) -> bool:
    """Say whether what a notice says still holds, as far as it and its integration show."""
    integration = notice.integration
    if notice.withdrawn_at:
        return False
    if notice.kind in OF_TOKEN:
        return (notice.kind, notice.key) == _token_stage(integration)
    return integration.is_linked


def _token_stage(integration: Integration) -> tuple[NoticeKind | None, str]:
    """Return today's stage of a token, with its key; None if there is none."""
    days, day = integration.token_days_left, integration.token_expires_on
    if days is None or not integration.is_linked:
        return None, ""
    if days < 0:
        return NoticeKind.TOKEN_ENDED, str(day)
    stage = min((stage for stage in STAGES if days <= stage), default=None)
    return (NoticeKind.TOKEN_ENDS, f"{day} {stage}") if stage else (None, "")
