"""The environment that people give the programs of a stack's runs."""

import logging
import re
from typing import Any

from django.conf import settings
from django.db import transaction

from core.encryption import WrongKey, decrypting
from stacks.models import FormerSecret, Stack, StackVariable
from stacks.rules.states import HOLDS_STACK, Kind

logger = logging.getLogger(__name__)

SHORTEST_SECRET = 6
# How many former secrets of a stack are kept, the newest, to be masked.
MOST_FORMER_SECRETS = 50
ORDINARY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# What follows TF_VAR_ is a name of Terraform's, which may have hyphens.
INPUT_NAME = re.compile(r"TF_VAR_[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
# Variables that each run has its own values of
RESERVED = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "TMPDIR", "ENV", "BASH_ENV", "IFS"}
RESERVED_PREFIXES = ("LD_", "STACKHOOK_")
INPUT = "TF_VAR_"
FREE_OF_TF = (INPUT, "TF_TOKEN_")
# What inputs and the usual providers read. Anything else may steer git, the programs of a run or
# the libraries below them, and lead secrets elsewhere: HTTP_PROXY, GIT_SSH_COMMAND, NODE_OPTIONS.
ALLOWED_PREFIXES = (
    *FREE_OF_TF,
    "ALICLOUD_",
    "ARM_",
    "AWS_",
    "AZDO_",
    "AZURE_",
    "CLOUDFLARE_",
    "CONSUL_",
    "DATABRICKS_",
    "DATADOG_",
    "DD_",
    "DIGITALOCEAN_",
    "FASTLY_",
    "GITHUB_",
    "GITLAB_",
    "GOOGLE_",
    "GRAFANA_",
    "HCLOUD_",
    "HELM_",
    "KUBE_",
    "LINODE_",
    "MONGODB_ATLAS_",
    "NEW_RELIC_",
    "NOMAD_",
    "OCI_",
    "OKTA_",
    "OS_",
    "PAGERDUTY_",
    "SNOWFLAKE_",
    "TFE_",
    "VAULT_",
    "VSPHERE_",
)


def environment_of(stack: Stack, kind: Kind) -> tuple[dict[str, str], list[str]]:
    """Return what runs of a kind find, and all of the stack's secret values, to be masked in logs.

    Raises WrongKey if one can't be decrypted.
    """
    fields = ("pk", "name", "value", "is_secret", "is_for_proposed")
    variables = list(stack.variables.values_list(*fields, named=True))
    values = {one.name: _open(one.name, one.value, one.pk) for one in variables}
    found = {one.name: values[one.name] for one in variables if _is_found(one, kind)}
    return found, [values[one.name] for one in variables if one.is_secret]


def withheld_from(stack: Stack, kind: Kind) -> list[str]:
    """Return the names of the secrets that runs of a kind don't find."""
    secret = stack.variables.filter(is_secret=True, is_for_proposed=False)
    return [] if kind == Kind.TRACKED else list(secret.values_list("name", flat=True))


def held_by(stack: Stack, besides: StackVariable | None = None) -> str:
    """Say which secrets a stack holds that its code could give away; empty if there are none.

    `besides` is a variable that doesn't count.
    """
    secrets = stack.variables.filter(is_secret=True)
    if besides:
        secrets = secrets.exclude(pk=besides.pk)
    held = {"secrets": secrets.exists(), "a state": stack.state_versions.exists()}
    return " and ".join(what for what, is_there in held.items() if is_there)


def held_for_providers(stack: Stack, besides: StackVariable | None = None) -> str:
    """Say what a stack holds that other variables could send elsewhere; empty if nothing."""
    if held := held_by(stack, besides):
        return held
    # The plan of a run keeps the inputs that it was made with.
    planned = stack.runs.filter(kind=Kind.TRACKED, state__in=sorted(HOLDS_STACK))
    keeps_secrets = stack.former_secrets.exists() and planned.exists()
    return "former secrets in a run" if keeps_secrets else ""


def former_secrets_of(stack: Stack) -> list[str]:
    """Return values that a stack's secrets had before, newest first, without what is unreadable."""
    values: list[str] = []
    for pk in stack.former_secrets.values_list("pk", flat=True):
        try:
            with decrypting("A former secret"):
                values += [one.value for one in FormerSecret.objects.filter(pk=pk)]
        except WrongKey as error:
            logger.warning("%s is not masked: %s", stack, error)
    return values


def change(variable: StackVariable, changes: dict[str, Any]) -> None:
    """Change fields of a variable. A secret value that it had stays masked."""
    with transaction.atomic():
        held = StackVariable.objects.select_for_update().defer("value").filter(pk=variable.pk)
        stored = held.first()
        if stored is None:  # somebody removed it meanwhile
            return
        old = _secret_value_of(stored)
        as_it_was = {"value": old, "is_secret": True}
        if any(changes.get(field, was) != was for field, was in as_it_was.items()):
            _keep_masked(variable.stack, old)
        for field, value in changes.items():
            setattr(stored, field, value)
        stored.save(update_fields=changes)


def remove(variable: StackVariable) -> None:
    """Remove a variable. A secret value that it had stays masked.

    Members may remove any: a provider then uses what the code says or its own default, which no
    member chose, and only an admin may set the variable again where the stack holds secrets.
    """
    with transaction.atomic():
        _keep_masked(variable.stack, _secret_value_of(variable))
        variable.delete()


def plain_values_of(stack: Stack) -> dict[str, str]:
    """Return the values that may be shown. Raises WrongKey if one can't be decrypted."""
    variables = stack.variables.filter(is_secret=False).values_list("pk", "name", "value")
    return {name: _open(name, value, pk) for pk, name, value in variables}


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
    if name.startswith((*ALLOWED_PREFIXES, *settings.RUN_VARIABLE_PREFIXES)):
        return ""
    examples = ", ".join(["ARM_", "AZDO_", "AWS_", "GOOGLE_", *settings.RUN_VARIABLE_PREFIXES])
    return (
        f"{name} is not allowed, as it may steer the programs of a run. Choose a name that begins "
        f"with TF_VAR_, TF_TOKEN_ or the prefix of a provider ({examples}, …), or ask the operator "
        f"to add its prefix to RUN_VARIABLE_PREFIXES."
    )


def is_input(name: str) -> bool:
    """Say whether only the code of a stack reads a variable.

    Providers read any other, which may decide where secrets are sent: to which host, account,
    tenant or region. There are too many of these to list.
    """
    return name.startswith(INPUT)


def why_only_admins_set(stack: Stack, name: str, variable: StackVariable | None = None) -> str:
    """Return why a member may not set a variable, and what to do; empty if they may.

    `variable` is the one to change, if any. The answer holds as long as the stack is locked.
    """
    held = "" if is_input(name) else held_for_providers(stack, besides=variable)
    return held and (
        f"This stack holds {held}, which {name} can send elsewhere. Only an admin may add or "
        f"change variables that don't begin with {INPUT}. Ask an admin of Stackhook."
    )


def _secret_value_of(variable: StackVariable) -> str:
    """Return a variable's value, which nobody else changes meanwhile.

    Empty where it is no secret, or can't be decrypted: then nobody can print it either.
    """
    held = StackVariable.objects.select_for_update().filter(pk=variable.pk, is_secret=True)
    try:
        stored = held.first()
    except WrongKey:
        return ""
    return stored.value if stored else ""


def _open(name: str, sealed: Any, pk: int) -> str:
    """Return the value of a variable, which a query returned Sealed. Raises WrongKey."""
    with decrypting(f"The variable {name} of this stack", "Or enter its value again."):
        return str(sealed.open(pk))


def _keep_masked(stack: Stack, value: str) -> None:
    """Keep a former secret in place of the oldest one."""
    if value:
        FormerSecret.objects.create(stack=stack, value=value)
        newest = stack.former_secrets.values_list("pk", flat=True)[:MOST_FORMER_SECRETS]
        stack.former_secrets.exclude(pk__in=list(newest)).delete()


def _is_found(variable: Any, kind: Kind) -> bool:
    """Say whether runs of a kind find a variable: code nobody approved finds no other secret."""
    return kind == Kind.TRACKED or variable.is_for_proposed or not variable.is_secret
