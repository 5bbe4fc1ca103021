"""Attach shared environments to stacks: an admin does, by hand or by a label.

A label attaches nothing on its own: an attachment is stored when an admin gives a label to an
environment, or an environment's label to a stack. So nobody else's label reaches a secret, however
it came to the stack.
"""

from collections.abc import Collection, Iterable

from django.db import transaction

from stacks.environment.variables import keep_masked_after_detaching
from stacks.models import Attachment, SharedEnvironment, Stack


def hold_environments() -> None:
    """Hold all shared environments until the transaction ends; to be called before a lock."""
    list(SharedEnvironment.objects.order_by("pk").select_for_update().values_list("pk"))


def attach(environment: SharedEnvironment, stack: Stack) -> None:
    """Attach an environment by hand."""
    Attachment.objects.update_or_create(
        environment=environment, stack=stack, defaults={"is_by_hand": True}
    )


@transaction.atomic
def detach(environment: SharedEnvironment, stack: Stack) -> bool:
    """Take back what was attached by hand; False if a label still attaches it."""
    attachment = Attachment.objects.filter(environment=environment, stack=stack).first()
    if attachment is None:
        return True
    if attachment.label:
        attachment.is_by_hand = False
        attachment.save()
        return False
    _leave(environment, [stack])
    return True


@transaction.atomic
def delete(environment: SharedEnvironment) -> None:
    """Delete an environment. Its secrets stay masked in the stacks that had it."""
    _leave(environment, list(environment.stacks.all()))
    environment.delete()


def stacks_with(labels: Collection[str]) -> list[Stack]:
    """Return the stacks that have one of these labels."""
    if not labels:
        return []
    wanted = set(labels)
    found = Stack.objects.values_list("pk", "labels")
    keys = [pk for pk, has in found if wanted.intersection(has)]
    return list(Stack.objects.with_repository().filter(pk__in=keys))


def newly_reached(environment: SharedEnvironment, labels: Collection[str]) -> list[Stack]:
    """Return the stacks to which labels would attach an environment that don't have it yet."""
    has = set(environment.attachments.values_list("stack", flat=True))
    return [stack for stack in stacks_with(labels) if stack.pk not in has]


@transaction.atomic
def set_labels(
    environment: SharedEnvironment, labels: list[str], new: Collection[Stack] = ()
) -> None:
    """Give an environment labels in an admin's name, which attach it to stacks that have one.

    Those are the stacks that have it already, and of the others only `new`, which the admin saw.
    """
    environment.labels = labels
    environment.save(update_fields=["labels"])
    allowed = {one.pk for one in new} | set(environment.attachments.values_list("stack", flat=True))
    stacks = [one for one in stacks_with(labels) if one.pk in allowed]
    for stack in stacks:
        _attach_by(next(one for one in labels if one in stack.labels), environment, stack)
    gone = environment.attachments.exclude(label="").exclude(stack__in=stacks)
    _end_by_label(environment, list(gone.select_related("stack")))


@transaction.atomic
def follow_labels(stack: Stack, before: Collection[str] = ()) -> None:
    """Attach in an admin's name what the labels that a stack got attach, and detach the others.

    `before` are the labels that it had: those attach nothing now that they did not attach before.
    """
    for environment in SharedEnvironment.objects.order_by("pk"):
        shared = [label for label in environment.labels if label in stack.labels]
        if added := next((label for label in shared if label not in before), ""):
            _attach_by(added, environment, stack)
        by_label = environment.attachments.filter(stack=stack).exclude(label="")
        if not shared:
            _end_by_label(environment, list(by_label))
        else:
            by_label.exclude(label__in=shared).update(label=shared[0])


def environments_of(labels: Iterable[str]) -> list[SharedEnvironment]:
    """Return the shared environments that one of these labels attaches."""
    wanted = set(labels)
    if not wanted:  # mostly
        return []
    return [one for one in SharedEnvironment.objects.all() if wanted.intersection(one.labels)]


def why_only_admins_label(before: Collection[str], after: Collection[str]) -> str:
    """Return why a member may not change a stack's labels like this, and what to do; else empty.

    The code of a stack can read what its shared environments hold.
    """
    changed = set(before).symmetric_difference(after)
    environments = environments_of(changed)
    if not environments:
        return ""
    labels = sorted(changed.intersection(label for one in environments for label in one.labels))
    names = ", ".join(str(one) for one in environments)
    return (
        f"The label {', '.join(labels)} attaches the shared environment {names}. Only an admin may "
        f"add it to a stack or remove it. Ask an admin of Stackhook."
    )


def _attach_by(label: str, environment: SharedEnvironment, stack: Stack) -> None:
    Attachment.objects.update_or_create(
        environment=environment, stack=stack, defaults={"label": label}
    )


def _end_by_label(environment: SharedEnvironment, attachments: list[Attachment]) -> None:
    by_hand = [one.pk for one in attachments if one.is_by_hand]
    environment.attachments.filter(pk__in=by_hand).update(label="")
    _leave(environment, [one.stack for one in attachments if not one.is_by_hand])


def _leave(environment: SharedEnvironment, stacks: list[Stack]) -> None:
    if stacks:
        keep_masked_after_detaching(environment, stacks)
        environment.attachments.filter(stack__in=stacks).delete()
