"""People who sign in."""

from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """A person. A model of our own from the start, since it can't be replaced later."""
