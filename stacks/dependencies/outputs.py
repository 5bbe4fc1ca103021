"""The outputs in the states of other stacks: which changed, and which are secrets to mask."""

import json
import logging
from typing import Any

from core.encryption import WrongKey
from stacks.models import Backend, Stack, StateGrant, StateVersion
from stacks.rules.states import Kind
from stacks.tfstate.files import InvalidState, outputs_of

logger = logging.getLogger(__name__)


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


def sensitive_outputs(grants: list[StateGrant]) -> list[str]:
    """Return the sensitive outputs of the states that a run may read, to be masked in its log.

    What can't be read, the run can't read either.
    """
    found: list[str] = []
    for stack in (grant.stack for grant in grants):
        newest = stack.state_versions.first()
        try:
            outputs = _outputs(newest).values()
        except (InvalidState, WrongKey) as error:
            logger.warning("The outputs of %s are not masked: %s", stack, error)
            continue
        found += [_text(one.get("value")) for one in outputs if one.get("sensitive")]
    return [text for text in found if text]


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
