"""Who may give a stack which labels: a label may attach a shared environment to its code."""

from django.http import HttpRequest

from accounts.roles import is_admin
from stacks.environment.attaching import environments_of, why_only_admins_label
from stacks.models import Stack


def why_not_labeled(request: HttpRequest, stack: Stack | None, labels: list[str]) -> str:
    """Return why a stack, or a new one, can't have these labels, and what to do; else empty.

    A label attaches no secrets to a stack that there is: that is done by hand, where an admin sees
    whose code finds them. To be called while all shared environments are held.
    """
    before = stack.labels if stack else []
    if not is_admin(request):
        return why_only_admins_label(before, labels)
    if stack is None:
        return ""
    attached = set(stack.attachments.values_list("environment", flat=True))
    added = environments_of(set(labels) - set(before))
    new = [one for one in added if one.is_secret and one.pk not in attached]
    return (
        f"A label attaches the shared environment {new[0]}, which holds secrets. Attach it under "
        f"Environment first, which shows whose code can read them, then add the label."
        if new
        else ""
    )
