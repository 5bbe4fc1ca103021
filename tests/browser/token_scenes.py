"""The pages of personal tokens, in their main states."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone
from playwright.sync_api import expect

from accounts.models import PersonalToken, User
from accounts.tokens.records import create_token
from tests.browser.scene import LONG_NAME, Scene, state


def _tokens(person: User) -> None:
    """One that is used, one that expired, and one that was revoked."""
    now = timezone.now()
    create_token(person, f"Pipeline {LONG_NAME}"[:100], None)
    PersonalToken.objects.update(last_used_at=now - timedelta(hours=2))
    old, _ = create_token(person, "Old laptop", 30)
    PersonalToken.objects.filter(pk=old.pk).update(
        created_at=now - timedelta(days=40), expires_at=now - timedelta(days=10)
    )
    lost, _ = create_token(person, "Lost laptop", 365)
    PersonalToken.objects.filter(pk=lost.pk).update(revoked_at=now)


@state("tokens")
def _own_tokens(scene: Scene) -> None:
    _tokens(scene.sign_in("bob"))
    scene.page.goto("/tokens/")


@state("tokens, a new one")
def _new_token(scene: Scene) -> None:
    settings.PUBLIC_URL = "https://stack-hook.example.com"  # the fixture `site` restores it
    scene.member("/tokens/")
    scene.page.get_by_label("Name").fill("My laptop")
    scene.press("Create token")
    expect(scene.page.get_by_text("The token was created")).to_be_visible()


@state("person, with tokens")
def _tokens_of_person(scene: Scene) -> None:
    bob = scene.fixture("bob", User)
    _tokens(bob)
    scene.admin(f"/settings/people/{bob.pk}/")
