"""What Azure DevOps accepts as a webhook subscription.

From Azure DevOps documentation, "Webhooks with Azure DevOps" and the published descriptions of
the consumer `webHooks` and the publisher `tfs`.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from .model import Organization

EVENT_TYPES = {
    "git.push": "Code pushed",
    "git.pullrequest.created": "Pull request created",
    "git.pullrequest.merged": "Pull request merge attempted",
    "git.pullrequest.updated": "Pull request updated",
}
_CHOICES = {
    "resourceDetailsToSend": {"all", "minimal", "none"},
    "messagesToSend": {"all", "text", "html", "markdown", "none"},
    "detailedMessagesToSend": {"all", "text", "html", "markdown", "none"},
    "acceptUntrustedCerts": {"true", "false"},
}
# In IANA's registries of special addresses, and global for Python.
_SPECIAL = [
    ipaddress.ip_network(network) for network in ("192.88.99.0/24", "2002::/16", "64:ff9b::/96")
]
_HEADER_LINE = re.compile(r"[^\s:]+:\S+")


class HookRuleError(ValueError):
    """The subscription is not acceptable; the text is for a person."""


def check_inputs(
    organization: Organization,
    event_type: str,
    publisher_inputs: dict[str, str],
    consumer_inputs: dict[str, str],
) -> None:
    """Raise HookRuleError unless a subscription with these inputs may be kept."""
    if event_type not in EVENT_TYPES:
        raise HookRuleError(f"The event type '{event_type}' is not known to the publisher 'tfs'.")
    _check_publisher(organization, publisher_inputs)
    check_consumer(consumer_inputs, organization.state.allow_local_hooks)


def _check_publisher(organization: Organization, inputs: dict[str, str]) -> None:
    project_id = inputs.get("projectId", "")
    if not project_id:
        raise HookRuleError(
            "A subscription for all projects needs the permission to edit subscriptions of the "
            "whole organization. Give a value for the input 'projectId'."
        )
    if not _is_guid(project_id) or organization.project(project_id) is None:
        raise HookRuleError(f"The input 'projectId' has no project: '{project_id}'.")
    repository = inputs.get("repository", "")
    if repository and not _is_guid(repository):
        raise HookRuleError(f"The input 'repository' is not a GUID: '{repository}'.")


def check_consumer(inputs: dict[str, str], allow_local: bool) -> None:
    """Raise HookRuleError unless the webhook's own settings are acceptable."""
    parts = urlsplit(inputs.get("url", ""))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HookRuleError("The input 'url' must be an absolute http or https address.")
    if not allow_local:
        if parts.scheme == "http":
            raise HookRuleError("The input 'url' must be an https address.")
        check_address(parts.hostname)
    _check_password(inputs.get("basicAuthPassword", ""))
    _check_choices(inputs)
    for line in inputs.get("httpHeaders", "").splitlines():
        if not _HEADER_LINE.fullmatch(line):
            raise HookRuleError("The input 'httpHeaders' must consist of lines 'Key:value'.")


def _check_password(password: str) -> None:
    if len(password) > 256 or any(character.isspace() for character in password):
        raise HookRuleError(
            "The input 'basicAuthPassword' must have 1 to 256 characters and no whitespace."
        )


def _check_choices(inputs: dict[str, str]) -> None:
    for name, choices in _CHOICES.items():
        value = inputs.get(name)
        if value == "":
            raise HookRuleError(f"ConsumerInput.Value is missing for the input '{name}'.")
        if value is not None and value not in choices:
            raise HookRuleError(f"The input '{name}' does not allow the value '{value}'.")


def check_address(host: str) -> None:
    """Raise HookRuleError for a loopback, private or otherwise special host."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        raise HookRuleError(f"The host '{host}' is a loopback address.")
    address = _ip_address(name)
    if address is None:
        return
    special = any(address in network for network in _SPECIAL)
    if special or not address.is_global or address.is_multicast:
        raise HookRuleError(f"The host '{host}' is a loopback, private or special address.")


def _ip_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an address, also one like 127.1 or 0x7f000001, which connecting understands."""
    with suppress(OSError):
        return ipaddress.IPv4Address(socket.inet_aton(name))
    with suppress(ValueError):
        return ipaddress.ip_address(name)
    return None


def check_resolved(host: str) -> None:
    """Raise HookRuleError if a host name leads to a loopback, private or special address."""
    for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
        check_address(str(address[0]).partition("%")[0])


def _is_guid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
