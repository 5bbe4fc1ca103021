"""Signed links to archives: whoever has one gets the archive, for some minutes.

Terraform and OpenTofu load an archive without the token that they asked for its address with.
"""

from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner
from django.urls import reverse

from modules.models import ModuleVersion

HOLDS = timedelta(minutes=5)
# By it, go-getter knows what it gets, and takes it off the address: "Module Sources", "Fetching
# archives over HTTP".
IS_ARCHIVE = "archive=tar.gz"
_signer = TimestampSigner(salt="modules.registry.links")


def link_to(version: ModuleVersion) -> str:
    """Return the path of a version's archive, signed.

    The programs read it as relative to the address that they asked: the host is theirs.
    """
    path = reverse("modules:archive", args=[_signer.sign(str(version.pk))])
    return f"{urlsplit(settings.PUBLIC_URL).path}{path}?{IS_ARCHIVE}"


def version_of(signed: str) -> ModuleVersion | None:
    """Return the version that a link leads to, with its archive; None if it holds no more."""
    try:
        pk = _signer.unsign(signed, max_age=HOLDS)
    except BadSignature:
        return None
    found = ModuleVersion.objects.published().without_texts().select_related("module", "archive")
    return found.filter(pk=pk).first()
