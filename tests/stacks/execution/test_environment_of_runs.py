"""What runs find in their environment, and what of it is seen afterward, with real Terraform."""

import json
from hashlib import sha256

from django.test import Client

from accounts.models import User
from stacks.environment.attaching import attach
from stacks.environment.variables import change, remove
from stacks.execution.output.logs import as_text
from stacks.execution.output.masking import MASK, MOST_PARTS
from stacks.lifecycle.actions import Action, act
from stacks.models import PlanChange, Runs, SharedEnvironment, SharedVariable, Stack, StackVariable
from stacks.rules.states import Kind, State
from stacks.sources.heads import follow_from_now
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import HTTP_BACKEND, log_of, outputs_of, pushed, work
from tests.stacks.reports.sender import look, send_all

PASSWORD = "Hunter2-Hunter2"


def add(stack: Stack, name: str, value: str, *, is_secret: bool = False) -> StackVariable:
    """Add a variable that all runs find."""
    return StackVariable.objects.create(
        stack=stack, name=name, value=value, is_secret=is_secret, runs=Runs.ALL
    )


def test_no_part_of_a_secret_is_in_log_page_plan_or_comment(
    member: Client, stack: Stack, repository: Repository
) -> None:
    add(stack, "TF_VAR_c", f'{{ user="sa", password="{PASSWORD}" }}', is_secret=True)
    add(stack, "TF_VAR_j", json.dumps({"in": {"user": "sa", "key": "öther<1>"}}), is_secret=True)
    add(stack, "TF_VAR_seen", "not a secret")
    code = """
variable "c" { type = object({ user = string, password = string }) }
variable "j" {}
variable "seen" {}
locals {
  j = jsondecode(var.j)
}
resource "terraform_data" "holds" {
  input = { all = jsonencode(var.c), one = var.c.password, key = local.j.in.key }
}
output "o" { value = var.c.password }
output "encoded" { value = jsonencode({ o = var.c.password, j = local.j.in.key }) }
output "twice" { value = jsonencode([jsonencode(local.j)]) }
output "url" { value = "https://sa:${urlencode(var.c.password)}@db/${urlencode(local.j.in.key)}" }
output "base64" { value = base64encode("sa:${var.c.password}:${local.j.in.key}") }
output "seen" { value = var.seen }
"""
    assert follow_from_now(stack) is None
    repository.push({"main.tf": HTTP_BACKEND + code}, "topic")
    request = repository.open_pull_request("topic")
    look(stack)
    (done,) = work()
    assert done.state == State.FINISHED, as_text(log_of(done))
    send_all()
    pages = [done.get_absolute_url()]
    pages += [one.get_absolute_url() for one in PlanChange.objects.filter(run=done)]
    page = "".join(member.get(one).content.decode() for one in pages)
    [thread] = request.threads
    comment = thread.comments[0].content
    statuses = " ".join(one.description for one in request.statuses)
    whole = "\n".join(
        [as_text(log_of(done)), json.dumps(outputs_of(done), ensure_ascii=False), page]
    )
    for part in ("Hunter", "SHVudGVy", "dW50ZXI", "h1bnRlc", "ther<1", "ther%3C1", "ther\\u003c1"):
        assert part not in whole + comment + statuses
    assert f'o = "{MASK}"' in " ".join(as_text(log_of(done)).split())
    assert f">&quot;{MASK}&quot;</code>" in page and "not a secret" in page
    assert "+ output o\n" in comment and "+ output seen\n" in comment
    assert "not a secret" not in comment
    assert f'"one": "{MASK}"' in comment


def test_a_value_that_was_secret_once_stays_masked(
    stack: Stack, repository: Repository, bob: User
) -> None:
    changed = add(stack, "TF_VAR_changed", f"{PASSWORD}-changed", is_secret=True)
    shown = add(stack, "TF_VAR_shown", f"{PASSWORD}-shown", is_secret=True)
    removed = add(stack, "TF_VAR_removed", f"{PASSWORD}-removed", is_secret=True)
    names = ("changed", "shown", "removed")
    code = "".join(
        f'variable "{name}" {{}}\noutput "{name}" {{\n  value = var.{name}\n}}\n' for name in names
    )
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND + code})
    (waiting,) = work()
    assert waiting.state == State.UNCONFIRMED, as_text(log_of(run))
    change(changed, {"value": "entered-later"})
    change(shown, {"value": "shown-to-all", "is_secret": False})
    remove(removed)
    act(waiting, Action.CONFIRM, bob, "")
    (done,) = work()
    # Terraform says what the plan was made with.
    assert f'specifies "{MASK}" as the value' in " ".join(as_text(log_of(done)).split())
    code = "".join(f'output "{name}" {{\n  value = "{PASSWORD}-{name}"\n}}\n' for name in names)
    again = pushed(stack, repository, {"main.tf": HTTP_BACKEND + code}, Kind.PROPOSED)
    (planned,) = work()
    assert planned.state == State.FINISHED, as_text(log_of(again))
    shown_of_both = as_text(log_of(done) + log_of(again)) + json.dumps(outputs_of(planned))
    assert PASSWORD not in shown_of_both
    assert shown_of_both.count(MASK) >= 3 * len(names)


def test_values_reach_the_code_as_they_are_and_a_file_that_overrides_them_is_named(
    member: Client, stack: Stack, repository: Repository
) -> None:
    key = '\n-----BEGIN KEY-----\n  a\tb é$"\\\r\n-----END KEY-----\n\n'
    add(stack, "TF_VAR_key", key, is_secret=True)
    add(stack, "TF_VAR_empty", "")
    overridden = {
        "a": "terraform.tfvars",
        "b": "terraform.tfvars.json",
        "c": "z.auto.tfvars",
        "d": "b.auto.tfvars.json",
        "e": "c.auto.tfvars",
    }
    for name in (*overridden, "kept"):
        add(stack, f"TF_VAR_{name}", "of the environment")
    everything = ("key", "empty", "kept", *overridden)
    code = "".join(f'variable "{name}" {{}}\n' for name in everything)
    code += 'output "key" {\n  value = sha256(var.key)\n}\n'
    code += (
        'output "seen" {\n  value = [var.empty, var.kept, var.a, var.b, var.c, var.d, var.e]\n}\n'
    )
    files: dict[str, str | None] = {
        "infra/main.tf": HTTP_BACKEND + code,
        "infra/terraform.tfvars": 'a = "file"\nb = "file"\n# kept = "file"\n',
        "infra/terraform.tfvars.json": '{"b": "json", "c": "json"}',
        "infra/z.auto.tfvars": 'c = <<EOT\nkept = "file"\nEOT\n',
        "infra/b.auto.tfvars.json": '{"d": "json"}',
        "infra/c.auto.tfvars": 'e = "a value that nobody sees"\n',
        "infra/a.auto.tfvars": 'e = "a value that does not count"\n',
        "infra/other.tfvars": 'kept = "file"\n',
        "infra/sub/terraform.tfvars": 'kept = "file"\n',
        "terraform.tfvars": 'kept = "file"\n',
    }
    Stack.objects.update(project_root="infra")
    run = pushed(stack, repository, files, Kind.PROPOSED)
    (done,) = work()
    assert done.state == State.FINISHED, as_text(log_of(run))
    values = outputs_of(done)
    assert json.loads(values["key"]) == sha256(key.encode()).hexdigest()
    assert [json.loads(one) for one in values["seen"].splitlines()] == [
        "", "of the environment", "file", "json", 'kept = "file"\n', "json",
        "a value that nobody sees",
    ]  # fmt: skip
    sentences = [
        f"TF_VAR_{one} has no effect: {file} sets {one}." for one, file in overridden.items()
    ]
    assert done.warnings == sentences
    page = " ".join(member.get(done.get_absolute_url()).content.decode().split())
    for sentence in sentences:
        assert f"<strong>Warning.</strong> {sentence}</p>" in page
        assert f"Warning: {sentence}" in as_text(log_of(run))


def test_a_run_says_when_not_every_value_of_its_secrets_is_masked(
    stack: Stack, repository: Repository
) -> None:
    for name in ("A", "B"):
        values = [f"{name}-{number:05}" for number in range(MOST_PARTS // 2 + 1)]
        add(stack, name, json.dumps(values), is_secret=True)
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND}, Kind.PROPOSED)
    (done,) = work()
    assert done.state == State.FINISHED
    [warning] = done.warnings
    assert warning.startswith("The secrets of this stack hold more than 10,000 values")
    assert warning in as_text(log_of(run))


def test_code_finds_shared_variables_and_files_and_prints_no_secret_of_them(
    stack: Stack, repository: Repository
) -> None:
    shared = SharedEnvironment.objects.create(name="Azure")
    attach(shared, stack)
    for name, value, more in (
        ("TF_VAR_region", "westeurope", {}),
        ("TF_VAR_password", PASSWORD, {"is_secret": True, "runs": Runs.TRACKED}),
        ("kube/config", "user: eve", {"is_file": True}),
        ("key.bin", "AAEC/w==", {"is_file": True, "is_base64": True}),
        ("token", f"{PASSWORD}-token", {"is_file": True, "is_secret": True, "runs": Runs.TRACKED}),
    ):
        SharedVariable.objects.create(environment=shared, name=name, value=value, **more)
    code = """
variable "region" {}
variable "password" { default = "none" }
variable "stackhook_files" {}
locals {
  token = "${var.stackhook_files}/token"
}
output "region" { value = var.region }
output "config" { value = file("${var.stackhook_files}/kube/config") }
output "key" { value = filebase64("${var.stackhook_files}/key.bin") }
output "token" { value = fileexists(local.token) ? file(local.token) : "none" }
output "password" { value = var.password }
"""
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND + code}, Kind.PROPOSED)
    (proposed,) = work()
    assert proposed.state == State.FINISHED, as_text(log_of(run))
    values = {name: json.loads(text) for name, text in outputs_of(proposed).items()}
    assert values == {
        "region": "westeurope",
        "config": "user: eve",
        "key": "AAEC/w==",
        "token": "none",
        "password": "none",
    }
    assert "Proposed runs don't find TF_VAR_password, token." in as_text(log_of(run))
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND + code + "# for real"})
    (tracked,) = work()
    assert tracked.state == State.UNCONFIRMED, as_text(log_of(run))
    values = {name: json.loads(text) for name, text in outputs_of(tracked).items()}
    assert (values["password"], values["token"]) == (MASK, MASK)
    assert PASSWORD not in as_text(log_of(run))
