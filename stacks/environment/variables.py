"""The environment that people give the programs of a stack's runs."""

import base64
import logging
from dataclasses import replace
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Q, QuerySet

from core.encryption import WrongKey, decrypting
from stacks.environment.merging import KINDS, Found, counting, found_in
from stacks.environment.names import INPUT, is_input
from stacks.models import (
    Attachment,
    FormerSecret,
    Runs,
    SharedEnvironment,
    SharedVariable,
    Stack,
    StackVariable,
)
from stacks.rules.states import HOLDS_STACK, Kind

logger = logging.getLogger(__name__)

V = TypeVar("V", StackVariable, SharedVariable)
SHORTEST_SECRET = 6


class UnusableFiles(Exception):
    """Files of an environment that can't be there together; the text says why."""


def environment_of(stack: Stack, kind: Kind) -> tuple[dict[str, str], list[str]]:
    """Return what runs of a kind find, and all secret values, to be masked in logs.

    Secret are also those that runs of this kind don't find, or that others override. Raises
    WrongKey if one can't be decrypted.
    """
    everything = found_in(stack)
    values = {one: one.open() for one in everything if not one.is_file or one.is_secret}
    found = counting(everything, kind)
    variables = {one.name: values[one] for one in found.values() if not one.is_file}
    return variables, [value for one, value in values.items() if one.is_secret]


def files_of(stack: Stack, kind: Kind) -> dict[str, bytes]:
    """Return the files that runs of a kind find, by their paths.

    Raises WrongKey if one can't be decrypted, and UnusableFiles where the path of one is a folder
    of another.
    """
    found = counting(found_in(stack), kind)
    files = {one.name: content_of(one, one.open()) for one in found.values() if one.is_file}
    for path in files:
        if below := next((other for other in files if other.startswith(f"{path}/")), ""):
            raise UnusableFiles(
                f"The environment has a file “{path}” and a file “{below}”, whose folder would "
                f"have the same name. Change one of these paths."
            )
    return files


def content_of(found: Found, value: str) -> bytes:
    """Return what a file holds whose value was read."""
    return base64.b64decode(value) if found.is_base64 else value.encode()


def withheld_from(stack: Stack, kind: Kind) -> list[str]:
    """Return the names of the secrets that runs of a kind don't find."""
    if kind != Kind.PROPOSED:
        return []
    everything = found_in(stack)
    there = counting(everything, kind)
    secret = (one for one in everything if one.is_secret and one.key not in there)
    return list(dict.fromkeys(one.name for one in secret))


def held_by(stack: Stack, besides: StackVariable | None = None) -> str:
    """Say which secrets a stack holds that its code could give away; empty if there are none.

    Those of shared environments count, too, and what it may read of other stacks. `besides` is a
    variable that doesn't count.
    """
    secrets = stack.variables.filter(is_secret=True)
    if besides:
        secrets = secrets.exclude(pk=besides.pk)
    shared = SharedVariable.objects.filter(environment__stacks=stack, is_secret=True)
    held = {
        "secrets": secrets.exists() or shared.exists(),
        "a state": stack.state_versions.exists(),
        "outputs of another stack": stack.read_grants.exists(),
    }
    return " and ".join(what for what, is_there in held.items() if is_there)


def held_for_providers(stack: Stack, besides: StackVariable | None = None) -> str:
    """Say what a stack holds that other variables could send elsewhere; empty if nothing."""
    if held := held_by(stack, besides):
        return held
    # The plan of a run keeps the inputs that it was made with.
    planned = stack.runs.filter(kind=Kind.TRACKED, state__in=sorted(HOLDS_STACK))
    keeps_secrets = _former_secrets(stack).exists() and planned.exists()
    return "former secrets in a run" if keeps_secrets else ""


def former_secrets_of(stack: Stack) -> list[str]:
    """Return values that a stack's secrets had before, newest first, without what is unreadable.

    Those of its shared environments are among them.
    """
    values: list[str] = []
    rows: Any = _former_secrets(stack).values_list("pk", "value")
    for pk, sealed in rows:
        try:
            with decrypting("A former secret"):
                values.append(str(sealed.open(pk)))
        except WrongKey as error:
            logger.warning("%s is not masked: %s", stack, error)
    return values


def change(variable: V, changes: dict[str, Any]) -> None:
    """Change fields of a variable. A secret value that it had stays masked."""
    with transaction.atomic():
        held = type(variable)._default_manager.select_for_update().filter(pk=variable.pk)
        stored = held.defer("value").first()
        if stored is None:  # somebody removed it meanwhile
            return
        old = _secret_value_of(stored)
        as_it_was = {"value": old, "is_secret": True}
        if any(changes.get(field, was) != was for field, was in as_it_was.items()):
            variable.keep_masked(old)
        for field, value in changes.items():
            setattr(stored, field, value)
        stored.save(update_fields=changes)


def remove(variable: V) -> None:
    """Remove a variable. A secret value that it had stays masked.

    Members may remove any that hides no shared secret: a provider then uses what the code says or
    its own default, which no member chose, and only an admin may set the variable again where the
    stack holds secrets.
    """
    with transaction.atomic():
        variable.keep_masked(_secret_value_of(variable))
        variable.delete()


def plain_value_of(variable: StackVariable | SharedVariable) -> str | None:
    """Return the value of a variable if it may be shown. Raises WrongKey."""
    if variable.is_secret:
        return None
    thing = "file" if variable.is_file else "variable"
    owner = "this stack" if isinstance(variable, StackVariable) else str(variable.environment)
    said = f"The {thing} {variable.name} of {owner}"
    with decrypting(said, "Or enter its value again."):
        variable.refresh_from_db(fields=["value"])
        return variable.value


def why_only_admins_set(
    stack: Stack, name: str, variable: StackVariable | None = None, *, is_file: bool = False
) -> str:
    """Return why a member may not set a variable or file, and what to do; empty if they may.

    `variable` is the one to change, if any. A provider may read a file that an admin's variable
    names, so that no file is an input. The answer holds as long as the stack is locked.
    """
    is_harmless = is_input(name) and not is_file
    held = "" if is_harmless else held_for_providers(stack, besides=variable)
    whose = "files" if is_file else f"variables that don't begin with {INPUT}"
    return held and (
        f"This stack holds {held}, which {name} can send elsewhere. Only an admin may add or "
        f"change {whose}. Ask an admin of Stackhook."
    )


def why_only_admins_uncover(stack: Stack, variable: StackVariable, runs: Runs | None) -> str:
    """Return why a member may not have fewer runs find a variable; empty if they may.

    `runs` are those that find it afterwards, None where it is removed. Then the code of the others
    could find a shared secret that it hides. The answer holds as long as the stack is locked.
    """
    before = found_in(stack)
    after = []
    for one in before:
        if one.attachment or one.pk != variable.pk:
            after.append(one)
        elif runs:
            after.append(replace(one, runs=runs))
    key = variable.is_file, variable.name
    for kind in KINDS:
        now, then = counting(before, kind).get(key), counting(after, kind).get(key)
        if then and then.attachment and then.is_secret and then is not now:
            return (
                f"{variable.name} hides a secret of {then.origin}, which the code of this stack "
                f"could then read. Only an admin may remove it or make it available to fewer runs. "
                f"Ask an admin of Stackhook."
            )
    return ""


def keep_masked_after_detaching(environment: SharedEnvironment, stacks: list[Stack]) -> None:
    """Keep what a shared environment's secrets say, and said before, masked in stacks it leaves.

    To be called in a transaction, before it leaves them.
    """
    values: list[str] = []
    secret = environment.variables.filter(is_secret=True).values_list("pk", flat=True)
    former = environment.former_secrets.values_list("pk", flat=True)
    rows = [(FormerSecret, pk) for pk in reversed(former)] + [(SharedVariable, pk) for pk in secret]
    for model, pk in rows:
        try:
            values += [one.value for one in model._default_manager.filter(pk=pk)]
        except WrongKey as error:
            logger.warning("A secret of %s is not masked any more: %s", environment, error)
    for stack in stacks:
        FormerSecret.objects.keep(*values, stack=stack)


def _former_secrets(stack: Stack) -> QuerySet[FormerSecret]:
    attached = Attachment.objects.filter(stack=stack).values("environment")
    return FormerSecret.objects.filter(Q(stack=stack) | Q(environment__in=attached))


def _secret_value_of(variable: V) -> str:
    """Return a variable's value, which nobody else changes meanwhile.

    Empty where it is no secret, or can't be decrypted: then nobody can print it either.
    """
    held = type(variable)._default_manager.select_for_update()
    try:
        stored = held.filter(pk=variable.pk, is_secret=True).first()
    except WrongKey:
        return ""
    return stored.value if stored else ""
