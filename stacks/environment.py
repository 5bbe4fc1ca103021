"""The environment that people give the programs of a stack's runs."""

import re

from stacks.models import Stack
from vcs_integrations.encryption import decrypting

SHORTEST_SECRET = 6
ORDINARY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# What follows TF_VAR_ is a name of Terraform's, which may have hyphens.
INPUT_NAME = re.compile(r"TF_VAR_[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
# What each run is given of its own
RESERVED = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "TMPDIR", "ENV", "BASH_ENV", "IFS"}
RESERVED_PREFIXES = ("LD_", "STACKHOOK_")
FREE_OF_TF = ("TF_VAR_", "TF_TOKEN_")


def environment_of(stack: Stack) -> tuple[dict[str, str], list[str]]:
    """Return a stack's variables, and which of their values are secret, to be masked in logs.

    Raises WrongKey where they can't be decrypted.
    """
    with decrypting("The environment of this stack"):
        variables = list(stack.variables.all())
    values = {variable.name: variable.value for variable in variables}
    return values, [variable.value for variable in variables if variable.is_secret]


def plain_values_of(stack: Stack) -> dict[str, str]:
    """Return the values that may be shown. Raises WrongKey where they can't be decrypted."""
    with decrypting("The environment of this stack"):
        return dict(stack.variables.filter(is_secret=False).values_list("name", "value"))


def why_not_named(name: str) -> str:
    """Return why a variable can't have this name, and what to do; empty if it can."""
    if not ORDINARY_NAME.fullmatch(name) and not INPUT_NAME.fullmatch(name):
        return "Use letters, digits and _, with no digit first, like TF_VAR_region."
    if name in RESERVED or name.startswith(RESERVED_PREFIXES):
        return f"Each run has its own {name}. Choose another name."
    if name.startswith("TF_") and not name.startswith(FREE_OF_TF):
        return (
            "Stackhook sets what begins with TF_ itself, other than TF_VAR_ and TF_TOKEN_. "
            "Choose another name."
        )
    return ""
