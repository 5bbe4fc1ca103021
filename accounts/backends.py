"""Who is signed in: Django's people and passwords, and each person's role with them."""

from typing import Any

from django.contrib.auth.backends import ModelBackend

from accounts.models import User
from accounts.roles import with_role


class PeopleBackend(ModelBackend):
    """Loads the person that a session names together with their role: every page asks for both."""

    def get_user(self, user_id: Any) -> User | None:
        user = with_role(User.objects.all()).filter(pk=user_id).first()
        return user if user and self.user_can_authenticate(user) else None
