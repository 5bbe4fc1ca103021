"""The notice about a tag that was moved after its version was published."""

from modules.models import Module, ModuleVersion
from vcs_integrations.models import Notice, NoticeKind
from vcs_integrations.notices.records import notify, withdraw


def notify_of_move(version: ModuleVersion) -> None:
    """Notify admins that a published version's tag leads elsewhere, until it is moved back."""
    module = version.module
    notify(
        module.integration,
        NoticeKind.TAG_MOVED,
        _key(version),
        f"The tag {version.tag} of {module.address} was moved",
        f"Version {version.number} was published from commit {version.sha[:8]} and never changes: "
        f"it is served as before. The tag is at commit {version.moved_to[:8]} now. Move it back, "
        f"and publish the new code by a tag of its own; if nobody should use the version any "
        f"more, yank it on the module's page.",
    )


def withdraw_notice_of_move(version: ModuleVersion) -> None:
    """Withdraw the notice: the tag is back, or gone, or the version was yanked."""
    withdraw(version.module.integration, NoticeKind.TAG_MOVED, key=_key(version))


def withdraw_notices_about(module: Module) -> None:
    """Withdraw the notices about all versions of a module that is deleted."""
    notices = Notice.objects.filter(integration=module.integration, kind=NoticeKind.TAG_MOVED)
    notices.filter(key__startswith=f"{module.pk}:").withdraw()


def _key(version: ModuleVersion) -> str:
    return f"{version.module_id}:{version.number}"
