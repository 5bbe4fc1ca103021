"""The outputs in the states of other stacks: which changed, and which are secrets to mask."""

import json
import logging
from typing import Any

from core.encryption import WrongKey
from stacks.models import Backend, FormerSecret, Stack, StateGrant, StateVersion
from stacks.models.variable import MOST_FORMER_SECRETS
from stacks.rules.states import Kind
from stacks.tfstate.files import InvalidState, outputs_of

logger = logging.getLogger(__name__)

# Of how many versions of a state the sensitive outputs are masked, the newest.
MASKED_VERSIONS = 10
# How many of them stay masked without a grant, so that other former secrets do, too.
MOST_KEPT = MOST_FORMER_SECRETS // 2


def changed_outputs(stack: Stack, before: int, after: int) -> list[str]:
    """Return the names of the outputs that differ between two versions of a stack's state.

    A version 0 has none. Raises InvalidState, and WrongKey where one can't be decrypted.
    """
    old, new = _outputs_at(stack, before), _outputs_at(stack, after)
    names = sorted(old.keys() | new.keys())
    return [name for name in names if _compared(old.get(name)) != _compared(new.get(name))]


def grants_of(stack: Stack, kind: Kind) -> list[StateGrant]:
    """Return which states of other stacks the runs of a kind may read."""
    grants = stack.read_grants.select_related("stack").filter(stack__backend=Backend.STACKHOOK)
    return [one for one in grants if kind != Kind.PROPOSED or one.is_for_proposed]


def sensitive_outputs(stack: Stack) -> list[str]:
    """Return the sensitive outputs that some runs of a stack may read, to be masked in all.

    Those of earlier versions are among them: the stack's own state may still hold what a tracked
    run read then, and runs of every kind plan with that state.
    """
    grants = stack.read_grants.select_related("stack")
    found = [text for grant in grants for text in _sensitive_outputs_of(grant.stack)]
    return list(dict.fromkeys(found))


def revoke(grant: StateGrant) -> None:
    """Remove a grant, in a transaction. The sensitive outputs that it let be read stay masked."""
    values = reversed(_sensitive_outputs_of(grant.stack)[:MOST_KEPT])
    FormerSecret.objects.keep(*values, stack=grant.reader)
    grant.delete()


def _sensitive_outputs_of(stack: Stack) -> list[str]:
    """Return the sensitive outputs in the newest versions of a state, newest first, each once."""
    found: list[str] = []
    for version in stack.state_versions.filter(is_deletion=False)[:MASKED_VERSIONS]:
        try:
            outputs = _outputs(version).values()
        except (InvalidState, WrongKey) as error:
            logger.warning("The outputs in %s of %s are not masked: %s", version, stack, error)
            continue
        found += [_text(one.get("value")) for one in outputs if one.get("sensitive")]
    return list(dict.fromkeys(filter(None, found)))


def _outputs_at(stack: Stack, number: int) -> dict[str, dict[str, Any]]:
    return _outputs(stack.state_versions.filter(number=number).first())


def _outputs(version: StateVersion | None) -> dict[str, dict[str, Any]]:
    if version is None or version.is_deletion:
        return {}
    return outputs_of(version.read())


def _compared(output: dict[str, Any] | None) -> str:
    return json.dumps([(output or {}).get(key) for key in ("value", "type")]) if output else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
