"""The addresses of what a stack's state holds, to choose from."""

from collections.abc import Iterator
from typing import Any

from core import bounded_json
from core.encryption import WrongKey
from stacks.models import Backend, Stack
from stacks.rules.addresses import is_resource, with_key, with_long_numbers
from stacks.tfstate.files import MOST_PARTS

# The largest state, in bytes, that is read only to offer what is in it.
LARGEST_READ = 16 * 1024 * 1024


def addresses_in_state(stack: Stack) -> list[str] | None:
    """Return the addresses of the resources in a stack's state, in order; None if not known.

    They are not known where the state is kept elsewhere, too large, or can't be decrypted.
    """
    newest = stack.state_versions.first()
    if stack.backend != Backend.STACKHOOK or (newest and newest.size > LARGEST_READ):
        return None
    if newest is None or newest.is_deletion:
        return []
    try:
        state = bounded_json.loads(newest.read(), MOST_PARTS)
        found = [one for one in _addresses(state) if is_resource(one)]
    except (WrongKey, ValueError, AttributeError, KeyError, TypeError):
        return None
    return sorted(set(found), key=with_long_numbers)


def _addresses(state: dict[str, Any]) -> Iterator[str]:
    """Yield the address of each managed instance in a state of format 4."""
    for resource in state.get("resources") or []:
        if resource.get("mode") != "managed":
            continue
        module = f"{resource['module']}." if resource.get("module") else ""
        address = f"{module}{resource['type']}.{resource['name']}"
        for instance in resource.get("instances") or []:
            yield with_key(address, instance.get("index_key"))
