"""What pages of an organization begin with."""

from django.shortcuts import get_object_or_404

from vcs_integrations.models import Integration


def linked_or_404(pk: int) -> Integration:
    """Return a linked integration; raises Http404 where there is none."""
    linked = Integration.objects.linked().select_related("hook_watch")
    return get_object_or_404(linked, pk=pk)
