"""Reading settings from the environment, so that a wrong value is named in one sentence."""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}


def read_env_file(path: Path) -> None:
    """Add the variables of a .env file to the environment; what is set there already wins."""
    if path.is_file():
        environ.Env.read_env(path)


def text(name: str, default: str) -> str:
    """Return a variable's text without surrounding spaces; empty counts as not set."""
    return os.environ.get(name, "").strip() or default


def required(name: str, purpose: str) -> str:
    """Return a variable that has no default."""
    value = text(name, "")
    if not value:
        raise ImproperlyConfigured(
            f"{name} is not set: give it a long random text, which is {purpose} "
            f"(`make run` writes one into .env)."
        )
    return value


def boolean(name: str, *, default: bool) -> bool:
    """Return a switch; only the words that clearly mean on or off are taken."""
    value = text(name, str(default))
    word = value.lower()
    if word not in TRUE | FALSE:
        raise ImproperlyConfigured(f"{name} is {value!r}: use true or false.")
    return word in TRUE


def port(name: str, default: int) -> int:
    """Return a TCP port."""
    return _number(name, default, 65535)


def count(name: str, default: int) -> int:
    """Return a number of something, like processes or days."""
    return _number(name, default, 999)


def _number(name: str, default: int, largest: int) -> int:
    value = text(name, str(default))
    if not (value.isascii() and value.isdigit() and 0 < int(value) <= largest):
        raise ImproperlyConfigured(f"{name} is {value!r}: use a number from 1 to {largest}.")
    return int(value)


def words(name: str, default: list[str]) -> list[str]:
    """Return a comma-separated list."""
    value = os.environ.get(name)
    if value is None:
        return default
    return [word.strip() for word in value.split(",") if word.strip()]


def base_url(name: str, value: str) -> str:
    """Check an address like http(s)://host[:port][/path]; return it without a final slash."""
    problem = ImproperlyConfigured(
        f"{name} is {value!r}: use an address like https://stackhook.example.com, "
        f"without user name, query or fragment."
    )
    if not value.isascii() or re.search(r"[\s\\]", value):
        raise problem
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise problem from error
    plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
        raise problem
    return value.rstrip("/")


def base_urls(name: str) -> list[str]:
    """Return a comma-separated list of addresses."""
    return [base_url(name, value) for value in words(name, [])]


def hosts(name: str, default: list[str]) -> list[str]:
    """Return host names as ALLOWED_HOSTS wants them: no scheme, no path."""
    names = words(name, default)
    for host in names:
        if "/" in host or " " in host:
            raise ImproperlyConfigured(
                f"{name} has {host!r}: use host names without scheme and path, "
                f"like stackhook.example.com."
            )
    return names


def origins(name: str, default: list[str]) -> list[str]:
    """Return origins (scheme and host) as CSRF_TRUSTED_ORIGINS wants them."""
    found = [base_url(name, value) for value in words(name, default)]
    for origin in found:
        if urlsplit(origin).path:
            raise ImproperlyConfigured(
                f"{name} has {origin!r}: use scheme and host without a path, like "
                f"https://stackhook.example.com."
            )
    return found


def proxy_header(name: str, default: str) -> tuple[str, str] | None:
    """Return (WSGI header name, value that means https), or None when it is switched off."""
    value = text(name, default)
    if value.lower() in FALSE:
        return None
    header, _, https = (part.strip() for part in value.partition(":"))
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", header) or not https:
        raise ImproperlyConfigured(
            f"{name} is {value!r}: use a header and its value, like "
            f"X-Forwarded-Proto: https, or off."
        )
    return f"HTTP_{header.upper().replace('-', '_')}", https


def database(name: str, default: str) -> dict[str, Any]:
    """Return Django's settings for the database that a URL names: SQLite or PostgreSQL.

    SQLite gets write-ahead logging, durable commits and writers that queue from the
    start of a transaction, so that an answered webhook survives a power cut.
    """
    url = text(name, default)
    schemes = {"sqlite": "sqlite3", "postgres": "postgresql", "postgresql": "postgresql"}
    engine = schemes.get(url.partition(":")[0])
    problem = ImproperlyConfigured(
        f"{name} is not usable: use sqlite:///path/to/file.sqlite3 or "
        f"postgres://user:password@host:5432/name."
    )
    if engine is None:
        raise problem
    try:
        urlsplit(url)
        config: dict[str, Any] = dict(environ.Env.db_url_config(url))
    except (ValueError, ImproperlyConfigured) as error:
        raise problem from error
    if config.get("NAME") in {None, "", ":memory:"}:  # each process would have its own memory
        raise problem
    if engine == "sqlite3":  # a relative path is meant from the project's folder
        config["NAME"] = str(BASE_DIR / config["NAME"])
    config["CONN_MAX_AGE"] = None
    config["CONN_HEALTH_CHECKS"] = engine == "postgresql"
    if engine == "sqlite3":
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        }
    else:
        config.setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
    return config
