"""Settings of checks and tests: a site behind https, whatever .env and the environment say."""

import os

os.environ |= {
    "SECRET_KEY": "a key that only tests use, long enough for the checks of Django 0123456789",
    "FIELD_ENCRYPTION_KEY": "another key that only tests use",
    "FIELD_ENCRYPTION_OLD_KEY": "",
    "DEBUG": "false",
    "PORT": "8000",
    "PUBLIC_URL": "https://stackhook.example.com",
    "ALLOWED_HOSTS": "127.0.0.1,localhost,testserver",
    "AZURE_DEVOPS_SERVERS": "",
    "EMAIL_URL": "",
    "DEFAULT_FROM_EMAIL": "",
    "CSRF_TRUSTED_ORIGINS": "https://stackhook.example.com",
    "TRUSTED_PROXIES": "",
    "NOTIFICATION_NETWORKS": "",
    "SECURE_SSL_REDIRECT": "true",
    "SESSION_COOKIE_SECURE": "true",
    "CSRF_COOKIE_SECURE": "true",
    "SECURE_PROXY_SSL_HEADER": "X-Forwarded-Proto: https",
    "DATABASE_URL": os.environ.get("TEST_DATABASE_URL", "sqlite:///test.sqlite3"),
    "NO_PROXY": "127.0.0.1,localhost",
    "RUN_NETWORK": "shared",  # it saves time; the tests of isolated networks choose otherwise
    "RUN_NETWORK_ALLOWED": "",
}

from config.settings import *  # noqa: F403
from config.settings import BASE_DIR, DATABASES, STATIC_ROOT, TEMPLATES, VCS_PROVIDERS

# WhiteNoise warns where it is missing, as it is in a fresh clone.
STATIC_ROOT.mkdir(exist_ok=True)

if "sqlite" in str(DATABASES["default"]["ENGINE"]):
    # A file, so that the server of the browser tests has connections of its own.
    DATABASES["default"]["TEST"] = {
        "NAME": BASE_DIR / os.environ.get("TEST_DATABASE_NAME", "test.sqlite3")
    }
    DATABASES["default"]["OPTIONS"]["init_command"] = (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
    )


class NotGiven(str):
    """What a template writes for a name that it was not given: elsewhere, nothing."""

    __slots__ = ()

    def __mod__(self, name: object) -> str:
        raise LookupError(f"A template writes {name}, which it was not given.")


TEMPLATES[0]["OPTIONS"]["string_if_invalid"] = NotGiven("%s")  # type: ignore[index]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
VCS_PROVIDERS = [*VCS_PROVIDERS, "tests.providers.plain.provider.Plain"]

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
