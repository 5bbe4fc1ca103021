"""Modules that mean harm: nothing leaves the sandbox, and nothing else gets into an archive."""

import hashlib
import io
import re
import tarfile
from pathlib import Path

import pytest
from django.conf import settings as configured
from pytest_django import Settings

from modules.models import Archive, Module, ModuleVersion, VersionState
from modules.publishing import trial
from tests.emulator.model import Repository
from tests.modules.publishing.conftest import (
    GOOD,
    outcomes,
    sentence,
    state,
    tagged,
    waiting,
    work,
)
from tests.stacks.execution.conftest import FILE, LINK, SUBMODULE, committed

# Applied by a test, it keeps all that it finds; backwards, so that no mask hides it.
LOOKS_AROUND = """
resource "terraform_data" "evil" {
  provisioner "local-exec" {
    command = <<-EOT
      (env; cat /proc/*/environ /proc/*/cmdline; ls -R /workspace /input /tmp) 2>&1 |
        tr '\\0' '\\n' | cat -v | rev > /tmp/seen
    EOT
  }
}
output "is_right" {
  value = false
}
"""
# A test prints nothing that is printed by what it applies, but why an assertion fails.
TELLS = """
run "tells" {
  command = plan
  assert {
    condition     = output.is_right
    error_message = file("/tmp/seen")
  }
}
"""
APPLIES = 'run "evil" {\n  command = apply\n}\n'
# Counts to 10¹⁵ and keeps nothing of it
COUNTS_ON = f"""
locals {{
  many = length({"[for one in range(1000) : length(" * 4}range(1000){")]" * 4})
}}
"""
# Changes the module's files and the archive that was unpacked, as far as it can reach them.
CHANGES_FILES = """
resource "terraform_data" "evil" {
  provisioner "local-exec" {
    command = "for one in main.tf new.tf /input/module.tar.gz; do echo evil > $one; done; true"
  }
}
"""


def unpacked(version: ModuleVersion) -> dict[str, bytes]:
    version.refresh_from_db()
    assert version.archive
    content = b"".join(bytes(one.content) for one in version.archive.chunks.all())
    assert hashlib.sha256(content).hexdigest() == version.archive.digest
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as opened:
        found = {one.name: opened.extractfile(one) for one in opened.getmembers()}
        return {name: file.read() for name, file in found.items() if file}


def test_a_test_that_applies_finds_no_credential(
    module: Module, repository: Repository, token: str, runs_folder: Path
) -> None:
    module.applies_tests = True
    module.save()
    tagged(module, repository, {"main.tf": LOOKS_AROUND, "tests/a.tftest.hcl": APPLIES + TELLS})
    (check,) = work()
    assert "TF_IN_AUTOMATION"[::-1] in check.log  # it did look
    for secret in (token, configured.SECRET_KEY, configured.FIELD_ENCRYPTION_KEY, "DJANGO"):
        assert secret[::-1] not in check.log
    assert list(runs_folder.glob("job-*")) == []


@pytest.mark.parametrize("hides_it", [False, True])
def test_a_test_that_applies_is_not_run_unless_the_module_may(
    module: Module, repository: Repository, hides_it: bool
) -> None:
    plans = 'run "harmless" {\n  command = plan\n}\n'
    test = APPLIES
    if hides_it:  # in a comment, a string and a heredoc there is what would make it harmless
        test = f'variables {{\n  a = "${{{{b = "}}"}}}}"\n  c = <<EOT\n{plans}EOT\n}}\n'
        test += '# run "a" { command = plan }\n'
        test += 'run "evil" {\n  variables {\n    command = "plan"\n  }\n}\n'
    tagged(module, repository, {"main.tf": LOOKS_AROUND, "tests/a.tftest.hcl": test})
    (check,) = work()
    assert outcomes(check)["Tests"] == "skipped", check.log
    assert "NOITAMOTUA" not in check.log


def test_what_code_changes_while_it_is_checked_is_not_published(
    module: Module, repository: Repository
) -> None:
    module.applies_tests = True
    module.save()
    files = {"main.tf": CHANGES_FILES, "tests/a.tftest.hcl": APPLIES}
    version = tagged(module, repository, files)
    (check,) = work()
    assert state(version) == VersionState.PUBLISHED, check.log
    assert unpacked(version) == {name: text.encode() for name, text in files.items()}


def test_attributes_of_the_code_change_no_file(module: Module, repository: Repository) -> None:
    attributes = (
        "*.tf ident eol=crlf export-subst working-tree-encoding=UTF-16\nb.tf export-ignore\n"
    )
    files = {
        "main.tf": f"# $Id$ $Format:%H$\n{GOOD}",
        "b.tf": "# b\n",
        ".gitattributes": attributes,
    }
    version = tagged(module, repository, files)
    work()
    assert unpacked(version) == {name: text.encode() for name, text in files.items()}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"leak": (LINK, "/etc/passwd")}, "leads out of the module's folder"),
        ({"leak": (LINK, "../../../etc/passwd")}, "leads out of the module's folder"),
        ({"sub": (SUBMODULE, "1" * 40)}, "is a submodule"),
        ({"a\\b.tf": (FILE, "x")}, "has a backslash"),
    ],
)
def test_what_leads_out_of_the_folder_is_refused(
    module: Module, repository: Repository, entries: dict[str, tuple[str, str]], said: str
) -> None:
    sha = committed(repository, {"main.tf": (FILE, GOOD), **entries})
    version = waiting(module, sha)
    (check,) = work()
    assert said in sentence(check, "Archive")
    assert state(version) == VersionState.REFUSED
    assert not Archive.objects.exists()


def test_a_name_that_leads_out_of_the_folder_is_refused(
    module: Module, repository: Repository, tmp_path: Path
) -> None:
    """git makes no such tree, but a hostile one can be pushed."""
    git = repository.git
    blob = git.run("hash-object", "-w", "--stdin", stdin=b"evil").decode().strip()
    entry = b"100644 ../../evil.tf\0" + bytes.fromhex(blob)
    tree = git.run("hash-object", "-t", "tree", "-w", "--stdin", "--literally", stdin=entry)
    author = ["-c", "user.name=Eve", "-c", "user.email=eve@example.com"]
    sha = git.run(*author, "commit-tree", tree.decode().strip(), "-m", "Harmless").decode().strip()
    repository.push_refs({"refs/heads/main": sha})
    version = waiting(module, sha)
    (check,) = work()
    assert "is no path of a file" in sentence(check, "Archive")
    assert state(version) == VersionState.REFUSED


def test_what_is_too_large_is_refused(module: Module, repository: Repository) -> None:
    """It takes nothing while it is packed."""
    sha = committed(repository, {"main.tf": (FILE, GOOD), "huge": (FILE, "0" * 65 * 1024 * 1024)})
    version = waiting(module, sha)
    (check,) = work()
    assert "more than 64 MB" in sentence(check, "Archive")
    assert state(version) == VersionState.REFUSED


def test_a_test_without_end_is_ended(
    module: Module, repository: Repository, settings: Settings
) -> None:
    settings.RUN_PLAN_MINUTES = 0.05
    module.applies_tests = True
    module.save()
    code = LOOKS_AROUND.replace("(env;", "sleep 1000; (env;")
    version = tagged(module, repository, {"main.tf": code, "tests/a.tftest.hcl": APPLIES})
    (check,) = work()
    assert any("It took more than" in one["sentence"] for one in check.results), check.results
    assert state(version) == VersionState.REFUSED


def test_what_is_printed_without_end_is_cut(module: Module, repository: Repository) -> None:
    """Terraform prints the line of each error."""
    code = "".join(
        f'output "a{number}" {{\n  value = var.b # {"x" * 40_000}\n}}\n' for number in range(30)
    )
    tagged(module, repository, {"main.tf": code})
    (check,) = work()
    assert "The log is cut here" in check.log
    assert len(check.log) < 1024 * 1024 + 1000
    # Only those at the end of the output are counted
    assert re.search(r"\(and more than \d+ more\)", check.failure)
    assert len(check.failure) < 500


def test_code_that_is_read_without_end_is_ended(
    module: Module, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Terraform works out values while it validates, and no limit of its own ends that."""
    monkeypatch.setattr(trial, "OFFLINE_MINUTES", 0.05)
    version = tagged(module, repository, {"main.tf": COUNTS_ON})
    (check,) = work()
    assert any("It took more than" in one["sentence"] for one in check.results), check.results
    assert state(version) == VersionState.REFUSED


def test_hostile_code_and_tests_do_not_end_the_worker(
    module: Module, repository: Repository
) -> None:
    deep = "[" * 20_000
    files = {
        "main.tf": GOOD,
        "tests/deep.tftest.hcl": f"variables {{\n  a = {deep}\n}}\n",
        "tests/j.tftest.json": '{"run": {"a": {"command": "plan"}}}',
        "README.md": "[" * 100_000 + "<script>alert(1)</script>",
    }
    version = tagged(module, repository, files)
    (check,) = work()
    assert check.has_ended
    assert state(version) != VersionState.WAITING
