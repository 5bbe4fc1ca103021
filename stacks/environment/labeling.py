"""Who may give a stack which labels: a label may attach a shared environment to its code."""

from django.http import HttpRequest

from accounts.roles import is_admin
from stacks.environment.attaching import environments_of, why_only_admins_label
from stacks.environment.destinations import destinations_of
from stacks.models import Stack


def why_not_labeled(request: HttpRequest, stack: Stack | None, labels: list[str]) -> str:
    """Return why a stack, or a new one, can't have these labels, and what to do; else empty.

    For a stack to which they attach secrets an admin has checked every variable that could send
    them elsewhere. To be called in the transaction that stores the labels.
    """
    before = stack.labels if stack else []
    if not is_admin(request):
        return why_only_admins_label(before, labels)
    if stack is None:
        return ""
    secret = [one for one in environments_of(set(labels) - set(before)) if one.is_secret]
    if not secret:
        return ""
    # Until the labels are stored, nobody sets a variable that was not checked.
    Stack.objects.select_for_update(no_key=True).get(pk=stack.pk)
    unchecked = destinations_of(stack)
    if not unchecked.variables:
        return ""
    return (
        f"A label attaches the shared environment {secret[0]}, and no admin has checked "
        f"{unchecked.names}, which can send its secrets elsewhere. Open each under Environment and "
        f"save it, then add the label. Or attach the environment there."
    )
