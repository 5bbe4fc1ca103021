"""Notices: what admins are told of an integration, once, by e-mail and on pages."""

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.mail import addresses_of_admins
from vcs_integrations.models import EXPIRY_NOTICE, Integration, Notice, NoticeKind, NoticeMail
from vcs_integrations.providers.base import Problem, ProviderError

# How many days before a token's end it is told.
STAGES = (EXPIRY_NOTICE.days, 14, 7, 1)
OF_TOKEN = {NoticeKind.TOKEN_ENDS, NoticeKind.TOKEN_ENDED}


def give(integration: Integration, kind: NoticeKind, key: str, subject: str, text: str) -> bool:
    """Tell the admins something, unless they were told; return whether it was new.

    `key` says which one of its kind it is, a project's id for example. `subject` is a short
    sentence without a full stop that names the integration, `text` the sentences that say what
    to do; both go by e-mail, so they hold no secret. Until `withdraw` the notice stands on the
    pages of admins, and is not given again.
    """
    same = Notice.objects.filter(integration=integration, kind=kind, key=key)
    if same.exists():
        return False
    said = {"subject": " ".join(subject.split())[:200], "text": text[:1000]}
    with transaction.atomic():
        notice, is_new = same.get_or_create(
            defaults=said, integration=integration, kind=kind, key=key
        )
        if is_new and settings.SENDS_EMAIL:
            NoticeMail.objects.bulk_create(
                NoticeMail(notice=notice, address=address) for address in addresses_of_admins()
            )
    return is_new


def withdraw(integration: Integration, *kinds: NoticeKind, key: str | None = None) -> None:
    """Forget notices whose cause is mended, all of these kinds or the one with that key.

    They leave the pages, mails that wait are not sent, and the next time it is told again.
    """
    notices = Notice.objects.filter(integration=integration, kind__in=kinds)
    (notices if key is None else notices.filter(key=key)).delete()


def look_at_tokens() -> None:
    """Tell of tokens that end soon or have ended, each stage once for a date.

    A stage that passed while no worker looked is left out.
    """
    soon = timezone.now().date() + EXPIRY_NOTICE
    for integration in Integration.objects.usable().filter(token_expires_on__lte=soon):
        kind, key = _token_stage(integration)
        if kind:
            verb = "ended" if kind == NoticeKind.TOKEN_ENDED else "ends"
            subject = f"The token of {integration} {integration.token_end_text}"
            text = (
                f"It {verb} on {integration.token_expires_on}. Without a token nothing is read or "
                f"reported, and no run goes on. Create a new one in {integration.provider.name} "
                f"and enter it in place of the old."
            )
            give(integration, kind, key, subject, text)


def tell_of_refusal(integration: Integration, error: ProviderError) -> None:
    """Tell of a failure that takes a person to mend, once until a call is good again."""
    if error.is_transient:
        return
    is_key = error.problem == Problem.WRONG_KEY
    kind = NoticeKind.WRONG_KEY if is_key else NoticeKind.REFUSED
    give(integration, kind, "", f"Connecting to {integration} failed", str(error))


def is_still_so(notice: Notice) -> bool:
    """Say whether what a notice says still holds, as far as its integration shows."""
    integration = notice.integration
    if notice.kind in OF_TOKEN:
        return (notice.kind, notice.key) == _token_stage(integration)
    return integration.is_linked


def _token_stage(integration: Integration) -> tuple[NoticeKind | None, str]:
    """Return what there is to tell of a token today, with its key; None where there is nothing."""
    days, day = integration.token_days_left, integration.token_expires_on
    if days is None or not integration.is_linked:
        return None, ""
    if days < 0:
        return NoticeKind.TOKEN_ENDED, str(day)
    stage = min((stage for stage in STAGES if days <= stage), default=None)
    return (NoticeKind.TOKEN_ENDS, f"{day} {stage}") if stage else (None, "")
