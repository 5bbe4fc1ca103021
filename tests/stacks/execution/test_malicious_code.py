"""Repositories that mean harm: what they try does nothing outside of their own job."""

import hashlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as configured
from django.db import connections
from pytest_django import Settings

from accounts.models import User
from stacks.execution import queue
from stacks.execution.isolation.sandbox import sandbox
from stacks.execution.output.logs import as_text, lines_as_html
from stacks.execution.output.masking import MASK
from stacks.execution.tools.backends import FILE
from stacks.execution.tools.overridden import warnings_of_overridden
from stacks.lifecycle.actions import Action, act
from stacks.lifecycle.forks import allow, read
from stacks.models import PlanFile, PullRequest, Stack, StackVariable
from stacks.rules.states import Kind, State
from stacks.sources.heads import follow_from_now
from tests.builders import propose
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import (
    HTTP_BACKEND,
    LINK,
    SUBMODULE,
    THREE,
    commands_below,
    committed,
    log_of,
    outputs_of,
    pushed,
    queued,
    work,
)
from tests.stacks.reports.sender import look


def executed(script: str) -> str:
    """Return code that runs a script when it is applied."""
    quoted = script.replace("\\", "\\\\").replace('"', '\\"')
    return f"""{HTTP_BACKEND}
resource "terraform_data" "evil" {{
  provisioner "local-exec" {{
    command = "{quoted}"
  }}
}}
"""


@pytest.fixture
def autodeploy(stack: Stack) -> Stack:
    stack.autodeploy = True
    stack.save()
    return stack


def test_code_can_not_read_the_workers_secrets(
    autodeploy: Stack, repository: Repository, token: str, runs_folder: Path
) -> None:
    database = configured.DATABASES["default"]["TEST"]["NAME"]
    # Written backwards, so that no mask hides what was found.
    script = (
        "(env; cat /proc/*/environ /proc/*/cmdline /input/* /root/.* /home/*/.*"
        f" {configured.BASE_DIR}/.env {configured.BASE_DIR}/manage.py {database};"
        f" ls -R {runs_folder} /workspace /tmp) 2>/dev/null | tr '\\0' '\\n' | cat -v | rev"
    )
    run = pushed(autodeploy, repository, {"main.tf": executed(script)})
    *_, done = work()
    assert done.state == State.FINISHED, log_of(run)
    seen = as_text(log_of(run))
    assert "TF_IN_AUTOMATION"[::-1] in seen  # it did look
    for secret in (token, configured.SECRET_KEY, configured.FIELD_ENCRYPTION_KEY, "DJANGO"):
        assert secret[::-1] not in seen
    assert "execute_from_command_line"[::-1] not in seen
    assert list(runs_folder.glob("job-*")) == []


def test_links_out_of_the_workspace_lead_nowhere(stack: Stack, repository: Repository) -> None:
    files = {
        "main.tf": ("100644", HTTP_BACKEND + 'output "a" {\n  value = file("shadow")\n}\n'),
        "shadow": (LINK, "/etc/shadow"),
    }
    run = queued(stack, committed(repository, files))
    (done,) = work()
    assert done.state == State.FAILED
    assert "root:" not in as_text(log_of(run))


def test_a_project_root_and_files_of_ours_that_are_links_change_nothing_outside(
    stack: Stack, repository: Repository, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = outside / FILE
    target.write_text("untouched")
    stack.backend = "stackhook"
    stack.save()
    linked_folder = queued(stack, committed(repository, {"infra": (LINK, str(outside))}))
    Stack.objects.update(project_root="infra")
    work()
    files = {"main.tf": ("100644", "# Nothing"), FILE: (LINK, str(target))}
    linked_file = queued(stack, committed(repository, files))
    Stack.objects.update(project_root="")
    work()
    assert target.read_text() == "untouched"
    assert [one.name for one in outside.iterdir()] == [target.name]
    linked_folder.refresh_from_db()
    assert "has no folder “infra”" in linked_folder.failure
    linked_file.refresh_from_db()
    assert linked_file.failure.startswith("The commit has a file named")


def test_files_of_variables_are_read_without_harm(runs_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("out = 1\n")
    with sandbox() as box:
        code = box.folder / "workspace" / "code"
        (code / "terraform.tfvars").mkdir(parents=True)
        (code / "shared").write_text("shared = 1\n")
        (code / "huge.auto.tfvars").write_text("out = 1\n" * 100_000)
        (code / "broken.auto.tfvars.json").write_text('{"out": ' + "[" * 100_000)
        Path(os.fsdecode(os.fsencode(code) + b"/b\xff\n.auto.tfvars")).write_text("named = 1\n")
        outside = str(tmp_path / "outside")
        links = ("nowhere", "/dev/zero", "/proc/self/mem", "loop.auto.tfvars", outside)
        for number, target in enumerate(links):
            (code / f"{number}.auto.tfvars").symlink_to(target)
        (code / "loop.auto.tfvars").symlink_to("loop.auto.tfvars")
        (code / "z.auto.tfvars").symlink_to("shared")
        names = ["TF_VAR_out", "TF_VAR_shared", "TF_VAR_named", "TF_VAR_absent", "shared"]
        assert warnings_of_overridden(names, box, "code", lambda: False) == [
            "TF_VAR_named has no effect: b\ufffd .auto.tfvars sets named.",
            "TF_VAR_shared has no effect: z.auto.tfvars sets shared.",
        ]


def test_hooks_filters_and_submodules_are_not_obeyed(
    stack: Stack, repository: Repository, tmp_path: Path
) -> None:
    mark = "touch /workspace/was-here; exit 1"
    files = {
        "main.tf": (
            "100644",
            HTTP_BACKEND + 'output "seen" {\n  value = fileset(path.module, "**")\n}\n',
        ),
        "post-checkout": ("100755", f"#!/bin/sh\n{mark}\n"),
        ".gitattributes": ("100644", "* filter=evil diff=evil\n*.tf filter=lfs\n"),
        ".gitmodules": (
            "100644",
            f'[submodule "sub"]\n\tpath = sub\n\turl = {repository.git.path}\n\tupdate = !{mark}\n',
        ),
        "sub": (SUBMODULE, repository.tip("main")),
    }
    stack.fetches_submodules = False
    stack.save()
    run = queued(stack, committed(repository, files), kind=Kind.PROPOSED)
    (done,) = work()
    assert done.state == State.FINISHED, as_text(log_of(run))
    (names,) = outputs_of(done).values()
    assert "post-checkout" in names
    assert "sub/" not in names and ".git/" not in names


def test_a_huge_file_ends_the_job_alone(
    stack: Stack, repository: Repository, settings: Settings
) -> None:
    settings.RUN_DISK_MB = 30
    # It takes nothing while it is packed.
    sha = committed(
        repository, {"main.tf": ("100644", HTTP_BACKEND), "huge": ("100644", "0" * 50_000_000)}
    )
    run = queued(stack, sha)
    (done,) = work()
    assert done.state == State.FAILED
    assert "File size limit exceeded" in as_text(log_of(run))


def test_a_fork_bomb_is_over_with_its_job(
    autodeploy: Stack, repository: Repository, settings: Settings, runs_folder: Path
) -> None:
    settings.RUN_PROCESSES = 80
    # Without a fork of its own, which bash would retry for long, and with no output left open.
    bomb = "bash -c 'bomb() { bomb | bomb & }; bomb; exec sleep 2' >/dev/null 2>&1"
    pushed(autodeploy, repository, {"main.tf": executed(bomb)})
    started = time.monotonic()
    *_, done = work()
    assert done.has_ended
    assert time.monotonic() - started < 60
    assert commands_below(runs_folder) == []


def test_nothing_that_a_terminal_or_a_page_obeys_is_left_of_the_output(
    autodeploy: Stack, repository: Repository
) -> None:
    octal = r"\033]0;title\007 \033[2J\033[1;1H \033]8;;http://evil\007link\033]8;;\007 \033c"
    script = rf"printf '{octal} \033[31mred\033[0m <script>alert(1)</script> \342\200\256 \233'"
    run = pushed(autodeploy, repository, {"main.tf": executed(script)})
    *_, done = work()
    assert done.state == State.FINISHED
    lines = log_of(run).split("\n")
    text = "\n".join(line for line in lines if "Executing:" not in line)
    assert "link" in text
    assert "title" not in text and "http://evil" not in text
    assert "\x1b[2J" not in text and "\x1bc" not in text and "\u202e" not in text
    texts = run.log.values_list("text", flat=True)
    html = "".join(line for text in texts for line in lines_as_html(text))
    assert '<span class="log-red">red</span>' in html
    assert "&lt;script&gt;" in html and "<script" not in html
    assert "\x1b" not in html


def test_folders_nested_to_any_depth_are_removed_and_the_run_finishes(
    autodeploy: Stack, repository: Repository, runs_folder: Path
) -> None:
    nest = "perl -e 'for (1..3000) { mkdir q(d)x200; chdir q(d)x200 or die }; chmod 0, q(..)'"
    pushed(autodeploy, repository, {"main.tf": executed(nest)})
    *_, done = work()
    assert (done.state, done.warnings) == (State.FINISHED, [])
    assert list(runs_folder.iterdir()) == []


def test_what_can_not_be_removed_is_set_aside_and_shown_with_the_run(
    stack: Stack, repository: Repository, runs_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stacks.execution.isolation.removal.SYSTEM_PATH", "/nowhere")
    pushed(stack, repository, {"main.tf": HTTP_BACKEND})
    (done,) = work()
    (left,) = runs_folder.iterdir()
    assert not left.name.startswith("job-")
    assert done.state == State.FINISHED
    assert done.warnings == [f"The folder of a job could not be removed. Remove it by hand: {left}"]


# The token


def test_the_token_is_on_no_command_line_in_no_log_and_not_left_for_the_code(
    stack: Stack, repository: Repository, token: str
) -> None:
    with command_lines() as seen:
        run = queued(stack, "1" * 40)  # git fails, and says why
        work()
        again = pushed(stack, repository, {"main.tf": HTTP_BACKEND})
        work()
    assert "git -C git fetch" in " ".join(seen.lines) or "fetch" in " ".join(seen.lines)
    assert not [line for line in seen.lines if token in line]
    assert "not our ref" in as_text(log_of(run))
    for one in (run, again):
        assert token not in log_of(one)


class Seen:
    lines: list[str]


@contextmanager
def command_lines() -> Iterator[Seen]:
    """Collect every command line of the machine meanwhile."""
    script = (
        "import pathlib, select, sys\n"
        "seen = set()\n"
        "while not select.select([sys.stdin], [], [], 0.005)[0]:\n"
        "    for one in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
        "        try: seen.add(one.read_bytes().replace(b'\\0', b' ').replace(b'\\n', b' '))\n"
        "        except OSError: pass\n"
        "sys.stdout.buffer.write(b'\\n'.join(seen))\n"
    )
    seen = Seen()
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as watcher:
        yield seen
        seen.lines = watcher.communicate(b"end")[0].decode(errors="replace").splitlines()


# The plan


def test_code_that_runs_while_a_plan_is_shown_changes_no_plan(
    stack: Stack,
    repository: Repository,
    bob: User,
    settings: Settings,
    runs_folder: Path,
) -> None:
    # As a provider would that the code chose: while `show` runs it, it writes wherever it may.
    program = runs_folder / "terraform-with-an-evil-provider"
    evil = f"""#!/bin/sh
write() {{ for file in "$@"; do echo evil > "$file"; done 2>/dev/null; }}
[ "$1" != show ] || write /workspace/plan "$3"
{settings.TERRAFORM_BIN} "$@"
code=$?
[ "$1" != show ] || write /workspace/code/.terraform.lock.hcl
exit $code
"""
    program.write_text(evil)
    program.chmod(0o755)
    settings.TERRAFORM_BIN = str(program)
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND + THREE})
    (waiting,) = work()
    assert (waiting.state, waiting.added) == (State.UNCONFIRMED, 3), as_text(log_of(run))
    stored = PlanFile.objects.get(run=run)
    assert hashlib.sha256(bytes(stored.content)).hexdigest() == stored.digest
    assert b"evil" not in stored.lock_file
    act(waiting, Action.CONFIRM, bob, "")
    (done,) = work()
    assert done.state == State.FINISHED, as_text(log_of(run))


def test_a_stored_plan_that_is_not_the_confirmed_one_is_not_applied(
    stack: Stack, repository: Repository, bob: User
) -> None:
    pushed(stack, repository, {"main.tf": HTTP_BACKEND + THREE})
    (waiting,) = work()
    act(waiting, Action.CONFIRM, bob, "")
    stored = PlanFile.objects.get(run=waiting)
    stored.content += b"evil"
    stored.save()
    (done,) = work()
    assert done.state == State.FAILED
    assert done.failure.startswith("Its plan is not the one that was shown, so nothing was applied")


# Secrets


def squeezed(text: str) -> str:
    text = re.sub(r"\n[^\n]*?\(local-exec\): ?", "", "\n" + as_text(text))
    return re.sub(r"[\s│]", "", text)


def test_a_secret_is_in_no_log_and_no_error_however_a_job_encodes_and_breaks_it(
    autodeploy: Stack, repository: Repository, tmp_path: Path
) -> None:
    secret = "kX9/vR2+wL5'mN8 qT1$zB4&yD7<cF0>hJ3;" * 3
    StackVariable.objects.create(
        stack=autodeploy, name="AWS_SESSION_TOKEN", value=secret, is_secret=True
    )
    encode = {
        "base64": "base64",
        "base64 twice": "base64 | base64",
        "hex": "od -An -v -tx1",
        "reversed": "rev",
        "colored": "grep --color=always -o . | tr -d '\\n'",
        "one by one": "fold -w 1",
        "for a shell": "xargs -0 bash -c 'printf %q \"$0\"'",
    }
    script = "; ".join(f'echo "$AWS_SESSION_TOKEN" | {one}; echo' for one in encode.values())
    run = pushed(autodeploy, repository, {"main.tf": executed(f"{script}; exit 1")})
    *_, done = work()
    assert done.state == State.FAILED
    assert "exit status 1" in done.errors
    for name, one in encode.items():
        command = ["sh", "-c", f'echo "$AWS_SESSION_TOKEN" | {one}']
        printed = subprocess.run(
            command, env={"PATH": os.environ["PATH"], "AWS_SESSION_TOKEN": secret},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        part = squeezed(printed)[40:60]
        assert len(part) == 20
        assert part not in squeezed(log_of(run)), name
        assert part not in squeezed(done.errors), name


def test_a_run_with_a_huge_secret_and_log_keeps_its_lease(
    transactional_db: None,
    stack: Stack,
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Stack.objects.update(autodeploy=True)
    lines = "\n".join(f"{'0' * (6 + number % 30)}{number}" for number in range(4200))
    StackVariable.objects.create(stack=stack, name="AWS_SESSION_TOKEN", value=lines, is_secret=True)
    monkeypatch.setattr("stacks.execution.queue.LEASE", timedelta(seconds=5))
    zeros = "yes $(printf %0100d 0) | head -n 10000"
    run = pushed(stack, repository, {"main.tf": executed(zeros)})
    is_over = threading.Event()

    def another_worker() -> None:
        while not is_over.wait(0.5):
            queue.requeue_lost()
        connections.close_all()

    other = threading.Thread(target=another_worker)
    other.start()
    try:
        *_, done = work()
    finally:
        is_over.set()
        other.join()
    assert done.state == State.FINISHED, done.failure
    assert done.attempts == 1
    log = as_text(log_of(run))
    assert MASK in log and "0" * 10 not in log


# Forks


def test_a_forks_code_does_not_run_unless_that_is_allowed(
    stack: Stack, repository: Repository
) -> None:
    repository.fork("infrastructure.eve")
    sha = repository.push({"main.tf": HTTP_BACKEND}, branch="main")
    request = PullRequest.objects.create(
        repository=stack.repository, number=7, status="open", is_from_fork=True,
        target_branch="main", source_branch="evil",
    )  # fmt: skip
    of_fork = {"kind": Kind.PROPOSED, "position": None, "branch": "evil"}
    refused = queued(stack, sha, **of_fork)
    propose(refused, request)
    (done,) = work()
    assert (done.pk, done.state) == (refused.pk, State.FAILED)
    assert "fork" in done.failure
    assert not refused.log.exists()
    Stack.objects.update(runs_forks=True)
    propose(queued(stack, sha, repeats=refused, **of_fork), request)
    (done,) = work()
    assert done.state == State.FINISHED


def test_a_commit_of_a_fork_that_a_member_allowed_runs_and_no_later_one(
    stack: Stack, repository: Repository, bob: User
) -> None:
    assert follow_from_now(stack) is None
    fork = repository.fork("infrastructure.eve")
    fork.push({"main.tf": HTTP_BACKEND}, "idea", start="main")
    proposed = repository.open_pull_request("idea", fork=fork)
    look(stack)
    request = PullRequest.objects.get()
    allow(stack, request, read(request, proposed.source_commit), bob)
    (done,) = work()
    assert (done.sha, done.state) == (proposed.source_commit, State.FINISHED), done.failure
    proposed.push({"main.tf": HTTP_BACKEND + "# worse"})
    look(stack)
    later = queued(stack, proposed.source_commit, kind=Kind.PROPOSED, position=None)
    propose(later, request, revision=2)
    (done,) = work()
    assert (done.state, "fork" in done.failure) == (State.FAILED, True)
