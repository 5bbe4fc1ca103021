"""Addresses of resources, as the options -target and -replace take them.

https://developer.hashicorp.com/terraform/cli/state/resource-addressing has the syntax.
"""

import re

MOST = 100
LONGEST = 500
_NAME = r"[^\W\d][\w-]*"
_KEY = r"(?:\[(?:[0-9]+|\"(?:[^\"\\\x00-\x1f]|\\[^\x00-\x1f])*\")\])?"
_MODULE = rf"module\.{_NAME}{_KEY}"
_RESOURCE = rf"(?:{_MODULE}\.)*(?!(?:module|data)\.){_NAME}\.{_NAME}{_KEY}"
_DATA_SOURCE = rf"(?:{_MODULE}\.)*data\.{_NAME}\.{_NAME}{_KEY}"
_TARGET = re.compile(rf"{_RESOURCE}|{_DATA_SOURCE}|{_MODULE}(?:\.{_MODULE})*")
_REPLACED = re.compile(_RESOURCE)
# How a key is written between quotes, where a template would begin at ${ or %{.
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def is_target(text: str) -> bool:
    """Say whether a text is an address of what a plan can be limited to: also a module."""
    return len(text) <= LONGEST and _TARGET.fullmatch(text) is not None


def is_resource(text: str) -> bool:
    """Say whether a text is an address of a managed resource, which can be replaced."""
    return len(text) <= LONGEST and _REPLACED.fullmatch(text) is not None


def with_key(address: str, key: object) -> str:
    """Return the address of an instance; `key` is an index, a key of for_each, or None."""
    if key is None:
        return address
    if isinstance(key, int):
        return f"{address}[{key}]"
    text = "".join(_ESCAPES.get(one, one) for one in str(key))
    return f'{address}["{text.replace("${", "$${").replace("%{", "%%{")}"]'


def with_long_numbers(address: str) -> str:
    """Return a key to sort addresses by that puts subnet[2] before subnet[10]."""
    return re.sub("[0-9]+", lambda found: found[0].zfill(20), address)
