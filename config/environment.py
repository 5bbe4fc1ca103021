"""Reading settings from the environment, so that a wrong value is named in one sentence."""

import os
import re
from dataclasses import dataclass
from email.utils import getaddresses
from io import StringIO
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email

from core.network.ip_addresses import is_loopback

BASE_DIR = Path(__file__).resolve().parent.parent
TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off"}
# As django-environ reads it, which only logs what it does not understand.
ENV_LINE = re.compile(r"(?:export )?[A-Za-z_0-9]+=")


def read_env_file(path: Path) -> None:
    """Add the variables of a .env file to the environment; what is set there already wins.

    Raises ImproperlyConfigured for a line that is none of NAME=value, comment and empty.
    """
    if path.is_file():
        environ.Env.read_env(StringIO(env_file_text(path)))


def env_file_text(path: Path) -> str:
    """Return what a .env file holds, every line of it understood."""
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{path} can't be read as text: {error}.") from error
    for number, line in enumerate(lines, start=1):
        if line and not line.startswith("#") and not ENV_LINE.match(line):
            named = re.match(r"(?:export\s+)?(\w+)\s*=", line)
            raise ImproperlyConfigured(
                f".env line {number}{f' ({named[1]})' if named else ''} is not understood: "
                f"write NAME=value, without spaces around the =, or # before a comment."
            )
    return "".join(f"{line}\n" for line in lines)


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


def megabytes(name: str, default: int) -> int:
    """Return a size; less than a gigabyte is too little for any job."""
    value = _number(name, default, 1024 * 1024)
    if value < 1024:
        raise ImproperlyConfigured(f"{name} is {value}: use a number of megabytes from 1024 on.")
    return value


def choice(name: str, choices: list[str]) -> str:
    """Return one of some words; the first is the default."""
    value = text(name, choices[0])
    if value not in choices:
        raise ImproperlyConfigured(f"{name} is {value!r}: use {' or '.join(choices)}.")
    return value


def program(name: str) -> str:
    """Return the path of a program that can be started; empty if none is named."""
    value = text(name, "")
    if value and not (Path(value).is_absolute() and os.access(value, os.X_OK)):
        raise ImproperlyConfigured(
            f"{name} is {value!r}: use the whole path of a program, like /usr/local/bin/terraform."
        )
    return value


def folder(name: str) -> str:
    """Return the path of a folder; empty if none is named."""
    value = text(name, "")
    if value and not (Path(value).is_absolute() and Path(value).is_dir()):
        raise ImproperlyConfigured(
            f"{name} is {value!r}: use the whole path of a folder that exists, like "
            f"/usr/local/lib/stackhook."
        )
    return value


def key_file(name: str) -> str:
    """Return the path of a file that can be read; empty if none is named."""
    value = text(name, "")
    if value and not (Path(value).is_file() and os.access(value, os.R_OK)):
        raise ImproperlyConfigured(
            f"{name} is {value!r}: use the whole path of a file with a public key of OpenPGP."
        )
    return value


def mirror(name: str) -> str:
    """Return an address that programs are downloaded from; empty if none is named."""
    value = base_url(name, text(name, ""), "https://mirror.example.com") if text(name, "") else ""
    parts = urlsplit(value)
    if parts.scheme == "http" and not is_loopback(str(parts.hostname)):
        raise ImproperlyConfigured(f"{name} is {value!r}: use an address with https.")
    return value


def require_with(name: str, is_on: bool, needed: str, value: str) -> None:
    """Raise ImproperlyConfigured where a switch is on, and what it needs is not set."""
    if is_on and not value:
        raise ImproperlyConfigured(f"{name} is true: set {needed}, too.")


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


def base_url(name: str, value: str, example: str = "https://stackhook.example.com") -> str:
    """Check an address like http(s)://host[:port][/path]; return it without a final slash."""
    problem = ImproperlyConfigured(
        f"{name} is {value!r}: use an address like {example}, without user name, query or fragment."
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


def base_urls(name: str, example: str) -> list[str]:
    """Return a comma-separated list of addresses."""
    return [base_url(name, value, example) for value in words(name, [])]


def namespace(name: str, default: str) -> str:
    """Return what addresses of modules begin with, as Terraform takes it, in lower case."""
    value = text(name, default)
    if not re.fullmatch(r"[0-9a-z](?:[0-9a-z_-]{0,62}[0-9a-z])?", value):
        raise ImproperlyConfigured(
            f"{name} is {value!r}: use at most 64 lower-case letters, digits, - and _, with a "
            f"letter or digit first and last, like {default}."
        )
    return value


def prefixes(name: str) -> list[str]:
    """Return a comma-separated list of beginnings of variables' names."""
    found = words(name, [])
    for prefix in found:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]+", prefix, re.ASCII):
            raise ImproperlyConfigured(
                f"{name} has {prefix!r}: use letters, digits and _, at least two, like FASTLY_."
            )
    return found


def destinations(name: str) -> list[tuple[IPv4Network, int | None]]:
    """Return a comma-separated list of IPv4 networks and addresses; the latter may have a port."""
    found: list[tuple[IPv4Network, int | None]] = []
    for word in words(name, []):
        address, colon, port = word.partition(":")
        problem = ImproperlyConfigured(
            f"{name} has {word!r}: use IPv4 addresses and networks, like 10.1.2.3, 10.1.2.3:443 or "
            f"10.1.0.0/16; a loopback address needs a port."
        )
        try:
            network = IPv4Network(address)
        except ValueError as error:
            raise problem from error
        is_port = port.isascii() and port.isdigit() and 0 < int(port) <= 65535
        if colon and not (is_port and network.prefixlen == 32):
            raise problem
        if not colon and network.overlaps(IPv4Network("127.0.0.0/8")):
            raise problem
        found.append((network, int(port) if colon else None))
    return found


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


def networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Return a comma-separated list of IP addresses and networks."""
    found = []
    for value in words(name, []):
        try:
            found.append(ip_network(value))
        except ValueError as error:
            raise ImproperlyConfigured(
                f"{name} has {value!r}: use IP addresses or networks, like 10.0.0.5 or 10.0.0.0/8."
            ) from error
    return found


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
        file = BASE_DIR / config["NAME"]
        if not file.parent.is_dir():
            raise ImproperlyConfigured(
                f"{name} names a file in {file.parent}, and there is no such folder: make it, "
                f"or name another one."
            )
        config["NAME"] = str(file)
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


@dataclass(frozen=True)
class MailServer:
    """Where mails are handed in; without a host, nowhere."""

    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""
    scheme: str = "smtp"


def mail_server(name: str) -> MailServer:
    """Return the mail server that a URL names."""
    url = text(name, "")
    if not url:
        return MailServer()
    problem = ImproperlyConfigured(
        f"{name} is not usable: use smtp+tls://user:password@host:587, smtp+ssl:// or smtp://, "
        f"with %-codes for special characters of user and password."
    )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise problem from error
    is_plain = parts.path in {"", "/"} and not (parts.query or parts.fragment)
    if parts.scheme not in {"smtp", "smtp+tls", "smtp+ssl"} or not (host and port and is_plain):
        raise problem
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return MailServer(host, port, user, password, parts.scheme)


def mail_address(name: str, default: str) -> str:
    """Return an address as a mail's sender: ann@example.com, or Ann <ann@example.com>."""
    value = text(name, "")
    if not value:
        return default
    problem = ImproperlyConfigured(
        f"{name} is {value!r}: use an address like Stackhook <stackhook@example.com>."
    )
    addresses = getaddresses([value])
    if len(addresses) != 1 or "\n" in value:
        raise problem
    try:
        validate_email(addresses[0][1])
    except ValidationError as error:
        raise problem from error
    return value
