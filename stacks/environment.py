"""The environment that people give the programs of a stack's runs."""

import logging
import re
from typing import Any

from django.db import transaction

from stacks.models import FormerSecret, Stack, StackVariable
from vcs_integrations.encryption import WrongKey, decrypting

logger = logging.getLogger(__name__)

SHORTEST_SECRET = 6
# So many former secrets of a stack are kept, the newest, to be masked.
MOST_FORMER_SECRETS = 50
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


def former_secrets_of(stack: Stack) -> list[str]:
    """Return values that a stack's secrets had before, newest first, without what is unreadable."""
    values: list[str] = []
    for pk in stack.former_secrets.values_list("pk", flat=True):
        try:
            with decrypting("A former secret"):
                values += FormerSecret.objects.filter(pk=pk).values_list("value", flat=True)
        except WrongKey as error:
            logger.warning("%s is not masked: %s", stack, error)
    return values


def change(variable: StackVariable, changes: dict[str, Any]) -> None:
    """Change fields of a variable. A secret value that it had stays masked."""
    with transaction.atomic():
        old = _secret_value_of(variable)
        as_it_was = {"value": old, "is_secret": True}
        if as_it_was | changes != as_it_was:
            _keep_masked(variable.stack, old)
        StackVariable.objects.filter(pk=variable.pk).update(**changes)


def remove(variable: StackVariable) -> None:
    """Remove a variable. A secret value that it had stays masked."""
    with transaction.atomic():
        _keep_masked(variable.stack, _secret_value_of(variable))
        variable.delete()


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


def _secret_value_of(variable: StackVariable) -> str:
    """Return a variable's value, which nobody else changes meanwhile.

    Empty where it is no secret, or can't be decrypted: then nobody can print it either.
    """
    held = StackVariable.objects.select_for_update().filter(pk=variable.pk, is_secret=True)
    try:
        with decrypting("The environment of this stack"):
            return held.values_list("value", flat=True).first() or ""
    except WrongKey:
        return ""


def _keep_masked(stack: Stack, value: str) -> None:
    """Keep a former secret in place of the oldest one."""
    if value:
        FormerSecret.objects.create(stack=stack, value=value)
        newest = stack.former_secrets.values_list("pk", flat=True)[:MOST_FORMER_SECRETS]
        stack.former_secrets.exclude(pk__in=list(newest)).delete()
