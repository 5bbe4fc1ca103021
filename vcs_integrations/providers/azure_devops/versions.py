"""Which version of the REST API is spoken: the newest that both sides know. Pure.

Azure DevOps Server 2019 speaks 5.0 or 5.1, 2020 speaks 6.0, 2022 speaks 7.0 and 2022.1 speaks 7.1
("API and TFS version mapping" in the REST API reference). All calls that are made here are in
Microsoft's specification of Azure DevOps Server 2019 (MicrosoftDocs/vsts-rest-api-specs,
`azure-devops-server-5.0`); that of Team Foundation Server 2018, 4.1, doesn't say which pull
requests are drafts.
"""

import re

SPOKEN = ("7.1", "7.0", "6.0", "5.1", "5.0")
NEWEST, OLDEST = SPOKEN[0], SPOKEN[-1]
# "The latest REST API version this server supports is 7.0."
LATEST = re.compile(r"\b(?:supports|supported by this server) is ([0-9]{1,2}\.[0-9]{1,2})\b")
# A server may know a version, but not for every call.
OUT_OF_RANGE = re.compile("out of range for this server|outside the valid version range")
REFUSALS = {
    "VssVersionOutOfRangeException",
    "VssVersionNotSupportedException",
    # The server knows the version as a preview alone: an older one is released.
    "VssInvalidPreviewVersionException",
}


def is_refusal(type_key: str, text: str) -> bool:
    """Say whether an error is about the version that was asked for."""
    return type_key in REFUSALS or bool(OUT_OF_RANGE.search(text))


def latest_of(text: str) -> str:
    """Return the latest version that a server says it supports; empty if it does not say."""
    match = LATEST.search(text)
    return match[1] if match else ""


def older(version: str, text: str) -> str:
    """Return the version to try after one was refused with a text; empty if there is none."""
    latest = latest_of(text) or version
    fitting = (one for one in SPOKEN if _order(one) < _order(version))
    return next((one for one in fitting if _order(one) <= _order(latest)), "")


def is_too_old(latest: str) -> bool:
    """Say whether a server's latest version lacks calls that are made here."""
    return bool(latest) and _order(latest) < _order(OLDEST)


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
