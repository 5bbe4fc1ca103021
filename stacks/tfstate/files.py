"""States as Terraform and OpenTofu write them: which are valid, and what they say of themselves."""

import json
from typing import Any, NoReturn

from core import bounded_json
from stacks.models import StateVersion
from vcs_integrations.providers.base import digest

LARGEST_STATE = 64 * 1024 * 1024  # bytes
MOST_PARTS = 4_000_000  # as many as fill the largest state, each with a name and a value
LARGEST_SERIAL = 2**63 - 1
# Terraform 0.12 and later, and OpenTofu, write this version of the format.
FORMAT = 4


class InvalidState(Exception):
    """Content that is no state; the text says why, and never what is in it."""


def describe(content: bytes) -> StateVersion:
    """Return a version with what a state says of itself, not stored yet. Raises InvalidState."""
    state = _parse(content)
    serial, lineage = state.get("serial"), line(state.get("lineage"))
    if type(serial) is not int or not 0 <= serial <= LARGEST_SERIAL:
        raise InvalidState("Invalid state: expected a serial, a whole number.")
    if not lineage:
        raise InvalidState("Invalid state: expected a lineage.")
    return StateVersion(
        serial=serial,
        lineage=lineage,
        tool_version=line(state.get("terraform_version")),
        resources=_count_resources(state.get("resources")),
        size=len(content),
        digest=digest(content),
    )


def outputs_of(content: bytes) -> dict[str, dict[str, Any]]:
    """Return the outputs that a state holds, by name: value, type, whether sensitive.

    Raises InvalidState, also where OpenTofu encrypted it.
    """
    state = _parse(content)
    if "encrypted_data" in state:
        raise InvalidState("OpenTofu encrypted this state, so that its outputs can't be read.")
    outputs = state.get("outputs") or {}
    if not isinstance(outputs, dict):
        raise InvalidState("Invalid state: expected outputs, a JSON object.")
    return {name: one for name, one in outputs.items() if isinstance(one, dict)}


def without_resources(content: bytes) -> bytes:
    """Return a state with its outputs alone, which is what another stack may read.

    Raises InvalidState.
    """
    outputs, state = outputs_of(content), _parse(content)
    kept = ("version", "terraform_version", "serial", "lineage")
    about = {name: state[name] for name in kept if name in state}
    return json.dumps(about | {"outputs": outputs, "resources": []}).encode()


def read_uploaded(content: bytes) -> bytes:
    """Return a file that a person chose as a state in UTF-8. Raises InvalidState.

    A file from PowerShell's `>` is in UTF-16, which Terraform could not read back.
    """
    try:
        found = content.decode(json.detect_encoding(content)).encode()
    except UnicodeError:
        raise InvalidState("Invalid state: expected JSON.") from None
    state = _parse(found)
    if "encrypted_data" in state:
        raise InvalidState("OpenTofu encrypted this state. Upload what tofu state pull prints.")
    if state.get("version") != FORMAT:
        raise InvalidState(
            f"Invalid state: expected version {FORMAT} of the format, which Terraform 0.12 and "
            f"later write."
        )
    if not isinstance(state.get("resources"), list):
        raise InvalidState("Invalid state: expected a list of resources.")
    describe(found)
    return found


def line(value: object) -> str:
    """Return a short text as a column takes it, empty if it is none."""
    return value[:100] if isinstance(value, str) and value.isprintable() else ""


def _parse(content: bytes) -> dict[str, Any]:
    try:
        state = bounded_json.loads(content, MOST_PARTS, parse_constant=_refuse_constant)
    except ValueError:
        raise InvalidState("Invalid state: expected JSON.") from None
    if not isinstance(state, dict):
        raise InvalidState("Invalid state: expected a JSON object.")
    return state


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON, though Python reads it.")


def _count_resources(resources: object) -> int:
    """Return how many resources are managed, each instance for itself."""
    if not isinstance(resources, list):
        return 0
    described = [one for one in resources if isinstance(one, dict)]
    managed = [one.get("instances") for one in described if one.get("mode") == "managed"]
    return sum(len(instances) for instances in managed if isinstance(instances, list))
