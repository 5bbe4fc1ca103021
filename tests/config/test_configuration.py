"""Settings from the environment, and what they make of every answer."""

import ast
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings as product
from django.contrib.staticfiles import finders
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.test import Client
from pytest_django import Settings

from config import environment
from tests.addresses import ROLES, World, clients, make_world
from tests.builders import make_integration
from tests.processes import KEYS, copy_tree, free_port, run

SHOW = """
import json
from config import settings
names = {name: getattr(settings, name) for name in dir(settings) if name.isupper()}
print(json.dumps(names, default=str))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The product without a .env, in a folder whose name needs care in a URL."""
    return copy_tree(tmp_path_factory.mktemp("tree") / "a folder+100%25 #1")


def settings_with(tree: Path, **variables: str) -> dict[str, Any]:
    """Return the settings that these variables lead to."""
    done = run(tree, "-c", SHOW, **(KEYS | variables))
    assert done.returncode == 0, done.stderr
    settings: dict[str, Any] = json.loads(done.stdout)
    return settings


# Defaults and good values


def test_the_defaults_are_those_of_a_site_behind_https(tree: Path) -> None:
    settings = settings_with(tree)
    assert settings["DEBUG"] is False
    assert settings["PORT"] == 8000
    assert settings["PUBLIC_URL"] == "http://127.0.0.1:8000"
    assert settings["ALLOWED_HOSTS"] == ["127.0.0.1", "localhost", "[::1]", "127.0.0.1"]
    assert settings["AZURE_DEVOPS_SERVERS"] == []
    assert settings["CSRF_TRUSTED_ORIGINS"] == ["http://127.0.0.1:8000"]
    assert settings["SECURE_SSL_REDIRECT"] is True
    assert settings["SESSION_COOKIE_SECURE"] is True
    assert settings["CSRF_COOKIE_SECURE"] is True
    assert settings["SECURE_PROXY_SSL_HEADER"] == ["HTTP_X_FORWARDED_PROTO", "https"]
    assert settings["SECURE_HSTS_SECONDS"] == 365 * 24 * 3600
    assert settings["SENDS_EMAIL"] is False
    assert settings["DATABASES"]["default"]["NAME"] == str(tree / "stackhook.sqlite3")


def test_good_values_are_taken(tree: Path, tmp_path: Path) -> None:
    settings = settings_with(
        tree,
        SECRET_KEY="one",
        FIELD_ENCRYPTION_KEY="any string: ümläut & spaces",
        DEBUG="Yes",
        PORT="8123",
        PUBLIC_URL="https://hooks.example.org/stackhook/",
        ALLOWED_HOSTS=" a.example , b.example:8000,,",
        AZURE_DEVOPS_SERVERS="http://tfs.corp.example:8080/tfs/, https://ado.example",
        CSRF_TRUSTED_ORIGINS="https://a.example,https://*.b.example",
        DATABASE_URL=f"sqlite:///{quote(str(tmp_path))}/data.sqlite3",
    )
    assert settings["SECRET_KEY"] == "one"
    assert settings["FIELD_ENCRYPTION_KEY"] == "any string: ümläut & spaces"
    assert settings["DEBUG"] is True
    assert settings["PORT"] == 8123
    assert settings["PUBLIC_URL"] == "https://hooks.example.org/stackhook"
    assert settings["ALLOWED_HOSTS"] == ["a.example", "b.example:8000", "hooks.example.org"]
    assert settings["AZURE_DEVOPS_SERVERS"] == [
        "http://tfs.corp.example:8080/tfs",
        "https://ado.example",
    ]
    assert settings["CSRF_TRUSTED_ORIGINS"] == ["https://a.example", "https://*.b.example"]
    assert settings["DATABASES"]["default"]["NAME"] == str(tmp_path / "data.sqlite3")


@pytest.mark.parametrize(
    ("public_url", "has_local_proxy"),
    [
        ("https://hooks.example.org", True),
        ("https://10.1.2.3", True),
        ("http://127.0.0.1:8000", False),
        ("http://127.8.0.1", False),
        ("http://[::1]:8000", False),
        ("http://localhost:8000", False),
        ("http://stackhook.localhost", False),
    ],
)
def test_a_loopback_address_is_a_proxys_only_where_the_public_address_is_none(
    tree: Path, public_url: str, has_local_proxy: bool
) -> None:
    assert settings_with(tree, PUBLIC_URL=public_url)["HAS_LOCAL_PROXY"] is has_local_proxy


def test_the_origin_of_the_public_url_is_trusted_by_default(tree: Path) -> None:
    settings = settings_with(tree, PUBLIC_URL="https://hooks.example.org:8443/stackhook")
    assert settings["CSRF_TRUSTED_ORIGINS"] == ["https://hooks.example.org:8443"]


@pytest.mark.parametrize(
    ("url", "uses_tls", "uses_ssl"),
    [
        ("smtp://mail.example:25", False, False),
        ("smtp+tls://mail.example:587/", True, False),
        ("smtp+ssl://mail.example:465", False, True),
    ],
)
def test_mails_go_to_the_server_that_is_named(
    tree: Path, url: str, uses_tls: bool, uses_ssl: bool
) -> None:
    settings = settings_with(tree, EMAIL_URL=url, PUBLIC_URL="https://hooks.example.org")
    assert settings["SENDS_EMAIL"] is True
    assert (settings["EMAIL_HOST"], settings["EMAIL_HOST_PASSWORD"]) == ("mail.example", "")
    assert settings["EMAIL_PORT"] == int(url.strip("/").rpartition(":")[2])
    assert (settings["EMAIL_USE_TLS"], settings["EMAIL_USE_SSL"]) == (uses_tls, uses_ssl)
    assert settings["DEFAULT_FROM_EMAIL"] == "Stackhook <stackhook@hooks.example.org>"


def test_mails_have_the_user_password_and_sender_that_are_given(tree: Path) -> None:
    settings = settings_with(
        tree,
        EMAIL_URL="smtp+tls://ann%40example.org:a+b%2F%23%20c@mail.example:587",
        DEFAULT_FROM_EMAIL='"Hooks, of ours" <hooks@example.org>',
    )
    assert settings["EMAIL_HOST_USER"] == "ann@example.org"
    assert settings["EMAIL_HOST_PASSWORD"] == "a+b/# c"
    assert settings["DEFAULT_FROM_EMAIL"] == '"Hooks, of ours" <hooks@example.org>'


@pytest.mark.parametrize(
    ("public_url", "host"),
    [
        ("https://Hooks.Example.org", "hooks.example.org"),
        ("https://hooks.example.org:8443", "hooks.example.org"),
        ("http://[2001:db8::1]:8000", "[2001:db8::1]"),
    ],
)
def test_the_host_of_the_public_url_is_always_allowed(
    tree: Path, public_url: str, host: str
) -> None:
    assert settings_with(tree, PUBLIC_URL=public_url, ALLOWED_HOSTS="")["ALLOWED_HOSTS"] == [host]


SWITCHES = {
    "SECURE_SSL_REDIRECT": False,
    "SESSION_COOKIE_SECURE": False,
    "CSRF_COOKIE_SECURE": False,
    "SECURE_PROXY_SSL_HEADER": None,
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_switch_of_https_can_be_turned_off_by_itself(tree: Path, switch: str) -> None:
    settings = settings_with(tree, **{switch: "off"})
    assert {name: settings[name] for name in SWITCHES if not settings[name]} == {
        switch: SWITCHES[switch]
    }
    # No browser may be made to insist on https where nothing leads there.
    assert bool(settings["SECURE_HSTS_SECONDS"]) == (switch != "SECURE_SSL_REDIRECT")


def test_a_variable_left_empty_counts_as_not_set(tree: Path) -> None:
    """Compose files and unit files pass empty variables on; they must not switch safety off."""
    names = [*SWITCHES, "PORT", "PUBLIC_URL", "DATABASE_URL", "DEBUG", "AZURE_DEVOPS_SERVERS"]
    names += ["EMAIL_URL", "DEFAULT_FROM_EMAIL"]
    assert settings_with(tree, **dict.fromkeys(names, "")) == settings_with(tree)


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        *[("true", True), ("ON", True), (" 1 ", True), ("yes", True)],
        *[("false", False), ("Off", False), ("0", False), ("no", False)],
    ],
)
def test_a_switch_takes_the_usual_words(
    monkeypatch: pytest.MonkeyPatch, word: str, meaning: bool
) -> None:
    monkeypatch.setenv("A_SWITCH", word)
    assert environment.boolean("A_SWITCH", default=not meaning) is meaning


def test_another_proxy_header_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY", "X-Forwarded-Ssl:on")
    assert environment.proxy_header("PROXY", "") == ("HTTP_X_FORWARDED_SSL", "on")


def test_the_environment_wins_over_the_file(tree: Path) -> None:
    file = tree / ".env"
    file.write_text("PORT=8111\nDEBUG=true\n")
    try:
        settings = settings_with(tree, PORT="8222")
    finally:
        file.unlink()
    assert (settings["PORT"], settings["DEBUG"]) == (8222, True)


# Databases


def database(monkeypatch: pytest.MonkeyPatch, url: str) -> dict[str, Any]:
    monkeypatch.setenv("A_DATABASE", url)
    return environment.database("A_DATABASE", "")


def test_sqlite_writes_ahead_durably_and_in_turn(tree: Path) -> None:
    script = """
import django; django.setup()
from django.db import connection, transaction
def ask(pragma):
    with connection.cursor() as cursor:
        return cursor.execute(f"PRAGMA {pragma}").fetchone()[0]
print(ask("journal_mode"), ask("synchronous"), ask("busy_timeout"))
said = []
connection.connection.set_trace_callback(said.append)
with transaction.atomic():
    connection.cursor().execute("SELECT 1")
print(said[0])
"""
    done = run(tree, "-c", script, DJANGO_SETTINGS_MODULE="config.settings", **KEYS)
    assert done.stdout.splitlines() == ["wal 2 5000", "BEGIN IMMEDIATE"], done.stderr
    assert (tree / "stackhook.sqlite3").exists()


def test_a_relative_path_of_sqlite_is_meant_from_the_products_folder(
    tree: Path, tmp_path: Path
) -> None:
    script = f"import sys; sys.path.insert(0, {str(tree)!r})\n{SHOW}"
    (tree / "data").mkdir()
    done = run(tmp_path, "-c", script, DATABASE_URL="sqlite:///data/x.sqlite3", **KEYS)
    name = json.loads(done.stdout)["DATABASES"]["default"]["NAME"]
    assert name == str(tree / "data/x.sqlite3")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_postgresql_url_is_taken_apart_and_its_connection_kept(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    config = database(
        monkeypatch, f"{scheme}://ann:p%40ss%2Fword@db.example:5433/hooks?sslmode=require"
    )
    assert config["ENGINE"] == "django.db.backends.postgresql"
    assert (config["USER"], config["PASSWORD"]) == ("ann", "p@ss/word")
    assert (config["HOST"], config["PORT"], config["NAME"]) == ("db.example", 5433, "hooks")
    assert config["CONN_MAX_AGE"] is None
    assert config["CONN_HEALTH_CHECKS"] is True
    assert config["OPTIONS"] == {"sslmode": "require", "connect_timeout": 5}


# Wrong values

WRONG = [
    ("SECRET_KEY", ""),
    ("FIELD_ENCRYPTION_KEY", "  "),
    ("DEBUG", "maybe"),
    ("PORT", "eighty"),
    ("PORT", "0"),
    ("PORT", "65536"),
    ("PORT", "-1"),
    ("PORT", "٨٠"),
    ("PUBLIC_URL", "hooks.example.org"),
    ("PUBLIC_URL", "ftp://hooks.example.org"),
    ("PUBLIC_URL", "https://"),
    ("PUBLIC_URL", "https://user@hooks.example.org"),
    ("PUBLIC_URL", "https://hooks.example.org/?a=1"),
    ("PUBLIC_URL", "https://hooks.example.org:port"),
    ("PUBLIC_URL", "https://hooks example.org"),
    ("PUBLIC_URL", "https://[::1"),
    ("ALLOWED_HOSTS", "https://a.example"),
    ("ALLOWED_HOSTS", "a.example b.example"),
    ("AZURE_DEVOPS_SERVERS", "tfs.example"),
    ("AZURE_DEVOPS_SERVERS", "https://good.example,ssh://tfs.example"),
    ("TOOLS_FOLDER", "tools"),
    ("TOOLS_DOWNLOAD", "true"),
    ("TERRAFORM_MIRROR", "http://mirror.example.com"),
    ("TOFU_MIRROR", "mirror.example.com"),
    ("TERRAFORM_KEY", "/there/is/no/such/key.asc"),
    ("TOFU_KEY", "/"),
    ("TOOLS_FOLDER", "/there/is/no/such/folder"),
    ("RUN_NETWORK", "vpn"),
    ("RUN_NETWORK_ALLOWED", "registry.example"),
    ("RUN_NETWORK_ALLOWED", "10.1.2.3/8"),
    ("RUN_NETWORK_ALLOWED", "10.0.0.0/8:443"),
    ("RUN_NETWORK_ALLOWED", "10.1.2.3:0"),
    ("RUN_NETWORK_ALLOWED", "10.1.2.3,127.0.0.1"),
    ("RUN_NETWORK_ALLOWED", "0.0.0.0/0"),
    ("RUN_NETWORK_ALLOWED", "fd00::1"),
    ("EMAIL_URL", "mail.example:587"),
    ("EMAIL_URL", "imap://u:a-db-password@mail.example:587"),
    ("EMAIL_URL", "smtp://u:a-db-password@mail.example"),
    ("EMAIL_URL", "smtp+tls://u:a-db-password#@mail.example:587"),
    ("EMAIL_URL", "smtp://u:a-db-password@mail.example:587/inbox"),
    ("EMAIL_URL", "smtp://u:a-db-password@mail.example:587?timeout=0"),
    ("EMAIL_URL", "smtp://u:a-db-password@:587"),
    ("DEFAULT_FROM_EMAIL", "Stackhook"),
    ("DEFAULT_FROM_EMAIL", "ann@example.com, bob@example.com"),
    ("DEFAULT_FROM_EMAIL", "ann@example.com\nBcc: bob@example.com"),
    ("CSRF_TRUSTED_ORIGINS", "a.example"),
    ("CSRF_TRUSTED_ORIGINS", "https://a.example/path"),
    ("TRUSTED_PROXIES", "proxy.example"),
    ("NOTIFICATION_NETWORKS", "hooks.example"),
    ("TRUSTED_PROXIES", "10.0.0.5,10.0.0.1/8"),
    ("SECURE_SSL_REDIRECT", "2"),
    ("SESSION_COOKIE_SECURE", "sometimes"),
    ("CSRF_COOKIE_SECURE", "-"),
    ("SECURE_PROXY_SSL_HEADER", "X-Forwarded-Proto"),
    ("SECURE_PROXY_SSL_HEADER", "true"),
    ("SECURE_PROXY_SSL_HEADER", "X Forwarded: https"),
    ("DATABASE_URL", "mysql://u:a-db-password@host/name"),
    ("DATABASE_URL", "data.sqlite3"),
    ("DATABASE_URL", "postgres://u:a-db-password@host:port/name"),
    ("DATABASE_URL", "postgres://u:a-db-password@host:5432"),
    ("DATABASE_URL", "sqlite://:memory:"),
    ("DATABASE_URL", "sqlite:///"),
    ("DATABASE_URL", "sqlite:////no/such/folder/data.sqlite3"),
]
# One of each through a whole process; the others by reading the settings alone.
ONE_EACH = list({name: (name, value) for name, value in WRONG}.values())


def assert_one_sentence(text: str, name: str) -> None:
    assert "Traceback" not in text
    [line] = text.strip().splitlines()
    assert line.startswith(f"Stackhook can't start: {name} ")
    assert line.endswith(".")
    assert "a-db-password" not in line


@pytest.mark.parametrize(("name", "value"), ONE_EACH)
def test_a_wrong_value_stops_every_command_with_one_sentence(
    tree: Path, name: str, value: str
) -> None:
    done = run(tree, "manage.py", "check", **(KEYS | {name: value}))
    assert done.returncode == 1
    assert done.stdout == ""
    assert_one_sentence(done.stderr, name)


@pytest.mark.parametrize(("name", "value"), [one for one in WRONG if one not in ONE_EACH])
def test_a_wrong_value_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str
) -> None:
    source = (product.BASE_DIR / "config" / "settings.py").read_text()
    for variable, text in (KEYS | {name: value}).items():
        monkeypatch.setenv(variable, text)
    with pytest.raises(ImproperlyConfigured) as refusal:
        exec(compile(source, "settings.py", "exec"), {"__file__": str(tmp_path / "c" / "s.py")})  # noqa: S102
    assert_one_sentence(f"Stackhook can't start: {refusal.value}", name)


SERVER = ("-m", "gunicorn", "-c", "config/gunicorn.py", "config.wsgi")


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "eighty"), ("DATABASE_URL", "oracle://x"), ("SECRET_KEY", "")]
)
def test_the_web_server_stops_with_the_same_sentence(tree: Path, name: str, value: str) -> None:
    done = run(tree, *SERVER, **(KEYS | {name: value}))
    assert done.returncode != 0
    assert_one_sentence(done.stderr, name)


def test_a_wrong_number_of_processes_is_named(tree: Path) -> None:
    """Gunicorn reads the variable itself, so the start checks it first; .env it does not read."""
    done = run(tree, "-m", "config.serve", WEB_CONCURRENCY="many", PORT=str(free_port()), **KEYS)
    assert done.returncode == 1
    assert_one_sentence(done.stderr, "WEB_CONCURRENCY")
    (tree / ".env").write_text("WEB_CONCURRENCY=0\n")
    done = run(tree, *SERVER, **KEYS)
    (tree / ".env").unlink()
    assert done.returncode != 0
    assert_one_sentence(done.stderr, "WEB_CONCURRENCY")


def test_the_example_of_an_own_server_is_one(tree: Path) -> None:
    done = run(tree, "manage.py", "check", AZURE_DEVOPS_SERVERS="tfs.example", **KEYS)
    assert "like https://devops.example.com/tfs, " in done.stderr


MIGRATE = ("manage.py", "migrate")
RUN = ("-m", "config.serve")
DEMO = ("-m", "tests.demo")


def stopped(tree: Path, program: tuple[str, ...], **variables: str) -> str:
    """Return what a program says that does not start."""
    ports = {"PORT": str(free_port()), "EMULATOR_PORT": str(free_port())}
    done = run(tree, *program, **(KEYS | ports | variables))
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


@pytest.mark.parametrize("program", [MIGRATE, SERVER, RUN])
def test_a_database_that_cant_be_used_stops_the_start(
    tree: Path, tmp_path: Path, program: tuple[str, ...]
) -> None:
    (tree / "staticfiles").mkdir(exist_ok=True)  # its lack is worth a line of its own
    (tmp_path / "text").write_text("This is no database, but a text that is long enough. " * 9)
    away = f"postgres://u:a-db-password@127.0.0.1:{free_port()}/hooks"
    for url in (away, f"sqlite:///{quote(str(tmp_path / 'text'))}", f"sqlite:///{tmp_path}"):
        assert_one_sentence(stopped(tree, program, DATABASE_URL=url), "DATABASE_URL")


def test_another_fault_of_a_database_is_not_taken_for_that(tree: Path, tmp_path: Path) -> None:
    empty = f"sqlite:///{quote(str(tmp_path / 'empty.sqlite3'))}"
    said = stopped(tree, ("manage.py", "clearsessions"), DATABASE_URL=empty)
    assert "no such table" in said
    assert "Stackhook can't start" not in said


@pytest.mark.parametrize("program", [MIGRATE, SERVER, RUN, DEMO])
def test_a_wrong_line_of_the_file_is_named(tree: Path, program: tuple[str, ...]) -> None:
    """A key that is not found because of it must not be replaced by a new one either."""
    file = tree / ".env"
    try:
        for text, name in (
            ("# A comment\n\nPORT = 8034\n", ".env line 3 (PORT)"),
            ("FIELD_ENCRYPTION_KEY =a-db-password\n", ".env line 1 (FIELD_ENCRYPTION_KEY)"),
            ("PORT=8034\nexport a-db-password\n", ".env line 2"),
        ):
            file.write_text(text)
            assert_one_sentence(stopped(tree, program), name)
            assert file.read_text() == text
        file.write_bytes(b"PORT=\xff\n")
        assert_one_sentence(stopped(tree, program), str(file))
    finally:
        file.unlink()


def test_spaces_around_lines_and_a_byte_order_mark_are_no_fault(tree: Path) -> None:
    (tree / ".env").write_text("\ufeff  export PORT=8111  \n \n  # A comment\n")
    try:
        assert settings_with(tree)["PORT"] == 8111
    finally:
        (tree / ".env").unlink()


def test_the_demo_needs_two_ports(tree: Path) -> None:
    port = str(free_port())
    said = stopped(tree, DEMO, PORT=port, EMULATOR_PORT=port)
    assert_one_sentence(said, "EMULATOR_PORT")


def test_good_settings_pass_djangos_own_checks(tree: Path) -> None:
    url = "https://hooks.example.org"
    keys = KEYS | {"SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"}
    done = run(tree, "manage.py", "check", "--deploy", PUBLIC_URL=url, **keys)
    assert done.returncode == 0, done.stderr


# .env.example


def variables_that_config_reads() -> set[str]:
    """Return the names in calls like environment.text("NAME", …) and os.environ.get("NAME")."""
    names = set()
    for path in (product.BASE_DIR / "config").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called, first = ast.unparse(node.func), node.args[0]
            reads = called.startswith("environment.") or called in {"os.environ.get", "os.getenv"}
            if reads and isinstance(first, ast.Constant) and isinstance(first.value, str):
                names.add(first.value)
    return names


def test_the_example_lists_exactly_what_is_read() -> None:
    text = (product.BASE_DIR / ".env.example").read_text()
    listed = re.findall(r"^#? ?([A-Z][A-Z_]+)=", text, re.MULTILINE)
    assert sorted(listed) == sorted(variables_that_config_reads())


def test_the_example_names_the_defaults(tree: Path) -> None:
    (tree / ".env").write_text((product.BASE_DIR / ".env.example").read_text())
    try:
        copied = settings_with(tree)
    finally:
        (tree / ".env").unlink()
    assert copied == settings_with(tree)


# The health check


def test_the_health_check_says_ok_to_everybody(db: None, stranger: Client) -> None:
    response = stranger.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")
    assert stranger.head("/healthz").status_code == 200


def test_the_health_check_says_when_the_database_is_away(
    db: None, stranger: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DatabaseError("away at /secret/place")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", fail)
        response = stranger.get("/healthz")
    assert response.status_code == 503
    assert response.content == b"The database can't be reached.\n"


# Http and https


def test_pages_lead_from_http_to_https(db: None) -> None:
    response = Client().get("/stacks/?q=a", headers={"Host": "stackhook.example.com"})
    assert response.status_code == 301
    assert response["Location"] == "https://stackhook.example.com/stacks/?q=a"


def test_webhooks_and_the_health_check_are_not_redirected(db: None) -> None:
    client = Client()
    assert client.get("/healthz").status_code == 200
    for end in ("", "/"):
        path = f"/webhooks/azure-devops/00000000-0000-0000-0000-000000000001{end}"
        assert client.post(path, b"{}", content_type="application/json").status_code == 404


def test_browsers_are_made_to_insist_on_https_over_https_only(db: None, stranger: Client) -> None:
    assert stranger.get("/sign-in/")["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in Client().get("/healthz")


def test_no_redirect_where_it_is_switched_off(db: None, settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = False
    assert Client().get("/sign-in/").status_code == 200


@pytest.mark.parametrize("host", ["stackhook.example.com", "localhost:8000", "evil.example"])
def test_only_allowed_hosts_are_answered(db: None, stranger: Client, host: str) -> None:
    expected = 400 if host == "evil.example" else 200
    assert stranger.get("/sign-in/", headers={"Host": host}).status_code == expected


# Headers and content of every page


class Elements(HTMLParser):
    """The elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def world(db: None, settings: Settings) -> World:
    settings.AZURE_DEVOPS_SERVERS = ["http://127.0.0.1:9"]
    return make_world(make_integration("http://127.0.0.1:9/fabrikam", "a-token"))


def answers(world: World) -> list[tuple[str, Any]]:
    """Return the answer to every address, for each role, as a whole page and to htmx."""
    found = []
    for role, client in clients().items():
        for path in world.paths():
            for headers in ({}, {"HX-Request": "true"}):
                found.append((f"{role} {path}", client.get(path, headers=headers)))
    assert {where.split(" /")[0] for where, _ in found} == set(ROLES)
    return found


def test_every_answer_has_strict_headers_and_no_page_has_code_of_its_own(world: World) -> None:
    """One walk for both, as it opens every page many times."""
    pages = 0
    for where, response in answers(world):
        assert_strict_headers(where, response)
        if response.get("Content-Type", "").startswith("text/html"):
            pages += 1
            assert_no_inline_code_and_no_other_host(where, response.content.decode())
    assert pages > 100


def assert_strict_headers(where: str, response: Any) -> None:
    assert response["X-Content-Type-Options"] == "nosniff", where
    assert response["X-Frame-Options"] == "DENY", where
    assert response["Referrer-Policy"] == "same-origin", where
    assert response["Cross-Origin-Opener-Policy"] == "same-origin", where
    policy = dict(
        directive.strip().split(" ", 1)
        for directive in response["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == policy["base-uri"] == "'none'", where
    assert policy["frame-ancestors"] == "'none'", where
    assert policy["form-action"] == "'self'", where
    assert set(policy.values()) == {"'self'", "'none'"}, where
    # No browser and no proxy keeps what is for who is signed in.
    assert "no-store" in response["Cache-Control"], where


def assert_no_inline_code_and_no_other_host(where: str, page: str) -> None:
    for tag, attributes in Elements(page).found:
        assert tag not in {"style", "iframe", "object", "embed", "base"}, where
        assert tag != "script" or attributes.get("src"), where
        for name, value in attributes.items():
            assert name != "style" and not re.match(r"on|hx-on|hx-vals|data-hx-on", name), where
            loads = name == "src" or (tag == "link" and name == "href")
            loads = (
                loads
                or name in {"action", "formaction"}
                or (name.startswith("hx-") and (name in {"hx-get", "hx-post"}))
            )
            if loads:
                assert value and re.match(r"/(?!/)", value), (where, name, value)
            assert not (value or "").lower().startswith("javascript:"), where


def test_every_asset_of_a_page_is_there(world: World, admin: Client) -> None:
    found = Elements(admin.get("/").content.decode()).found
    assets = {
        value.removeprefix("/static/")
        for _, attributes in found
        for name, value in attributes.items()
        if name in {"src", "href"} and value and value.startswith("/static/")
    }
    assert len(assets) >= 8
    assert [asset for asset in sorted(assets) if finders.find(asset) is None] == []


def test_pages_of_errors_are_as_strict(
    world: World, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("dashboard.health.unfixed_notices", fail)
    admin.raise_request_exception = False
    response = admin.get("/")
    assert response.status_code == 500
    assert "Something broke" in response.content.decode()
    assert "broken on purpose" not in response.content.decode()
    assert "unsafe" not in response["Content-Security-Policy"]
    assert response["X-Frame-Options"] == "DENY"
