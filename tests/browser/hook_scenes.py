"""The pages about service hooks in their main states; `scene.py` has the others."""

from datetime import timedelta

from django.utils import timezone
from playwright.sync_api import expect

from tests.browser.scene import LONG_NAME, Scene, state
from vcs_integrations.hooks.watching import watch
from vcs_integrations.models import HookTest, Integration, Verdict
from vcs_integrations.webhooks.password import change_webhook_password


def _read(scene: Scene) -> Integration:
    """Read the hooks, as the worker does, and return the integration as it is then."""
    watch(Integration.objects.get(pk=scene.integration.pk).hook_watch)
    return Integration.objects.get(pk=scene.integration.pk)


@state("hooks, none")
def _hooks_none(scene: Scene) -> None:
    for name in ("Tools", LONG_NAME[:60], "Web"):
        scene.organization.add_project(name).add_repository("a", {"a": "1"})
    scene.admin(_read(scene).get_absolute_url())
    expect(scene.page.get_by_text("No project has service hooks yet.")).to_be_visible()


@state("hooks, about to be made")
def _hooks_about_to_be_made(scene: Scene) -> None:
    scene.admin(_read(scene).get_absolute_url())
    scene.press("Create hooks in Platform Team")
    expect(scene.page.get_by_text("The worker reads them now…")).to_be_visible()
    expect(scene.page.get_by_text("Being made")).to_be_visible()


@state("hooks, kept")
def _hooks_kept(scene: Scene) -> None:
    scene.integration.projects.update(keeps_hooks=True)
    scene.admin(_read(scene).get_absolute_url())
    expect(scene.page.get_by_text("All work", exact=True)).to_be_visible()


@state("hooks, in trouble")
def _hooks_in_trouble(scene: Scene) -> None:
    integration = _read(scene)
    [project] = scene.organization.projects
    add = scene.organization.add_subscription
    add(project, "git.push", integration.endpoint_url, "x").set_status("onProbation")
    filters = {"branch": LONG_NAME}
    created = "git.pullrequest.created"
    add(project, created, integration.endpoint_url, "x", publisher_inputs=filters)
    owned = add(project, "git.pullrequest.updated", integration.endpoint_url, "x")
    owned.set_status("disabledByInactiveIdentity")
    scene.organization.deny("Ann Admin", "edit_subscriptions")
    integration.projects.update(keeps_hooks=True, silent_since=timezone.now() - timedelta(hours=1))
    scene.admin(_read(scene).get_absolute_url())
    expect(scene.page.get_by_text("0 of 4 work")).to_be_visible()


@state("hooks, with a new password")
def _hooks_with_a_new_password(scene: Scene) -> None:
    integration = _read(scene)
    [project] = scene.organization.projects
    password = integration.read_webhook_secret().value
    scene.organization.add_subscription(project, "git.push", integration.endpoint_url, password)
    change_webhook_password(integration, integration.password_mark)
    scene.admin(_read(scene).get_absolute_url())
    expect(scene.page.get_by_text("The webhook password was changed")).to_be_visible()


@state("hooks, record")
def _hooks_record(scene: Scene) -> None:
    scene.integration.projects.update(keeps_hooks=True)
    scene.admin(f"{_read(scene).get_absolute_url()}hooks/record/")


@state("hooks, no record")
def _hooks_no_record(scene: Scene) -> None:
    scene.admin(f"{_read(scene).get_absolute_url()}hooks/record/")


@state("webhook password, to be changed")
def _webhook_password(scene: Scene) -> None:
    scene.admin(f"{scene.integration.get_absolute_url()}password/")


@state("test of a hook, that works")
def _test_of_a_hook(scene: Scene) -> None:
    scene.integration.projects.update(keeps_hooks=True)
    scene.admin(_read(scene).get_absolute_url())
    scene.press("Test a hook of Platform Team")
    expect(scene.page.get_by_text("The hook works.")).to_be_visible()


@state("test of a hook, that does not")
def _test_that_does_not_work(scene: Scene) -> None:
    test = HookTest.objects.create(
        integration=scene.integration,
        external_id="00000000-0000-0000-0000-000000000001",
        event_type="git.push",
        project_name="Platform Team",
        verdict=Verdict.TLS,
        fix="Check the certificate of PUBLIC_URL.",
        notification_id="3",
        asking_took=0.2,
        is_sent=True,
        error="The SSL connection could not be established, see inner exception.",
        sending_took=1.3,
    )
    scene.admin(test.get_absolute_url())


@state("stack, whose project has no hooks")
def _stack_without_hooks(scene: Scene) -> None:
    stack = scene.stack()
    stack.repository.due_at = timezone.now()
    stack.repository.save()
    _read(scene)
    scene.admin(stack.get_absolute_url())
    expect(scene.page.get_by_text("No webhook reports pushes yet.")).to_be_visible()
