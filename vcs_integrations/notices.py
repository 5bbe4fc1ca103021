"""Notices: what admins are told of an integration, once, by e-mail and on pages."""

from django.conf import settings
from django.db import transaction

from accounts.roles import addresses_of_admins
from vcs_integrations.models import Integration, Notice, NoticeKind, NoticeMail


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
