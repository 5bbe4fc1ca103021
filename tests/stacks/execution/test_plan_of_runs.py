"""The plan of a run as real Terraform prints it, on the pages that show it."""

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from stacks.environment.variables import environment_of
from stacks.execution.output.logs import as_text
from stacks.execution.output.masking import MASK
from stacks.execution.tools.plan_changes import Entry, Found, Mask, read_changes
from stacks.lifecycle.actions import Action, act
from stacks.models import PlanChange, Run, Runs, Stack, StackVariable, values_of
from stacks.rules.states import Kind, State
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import HTTP_BACKEND, THREE, log_of, pushed, work

BEFORE = """
variable "hush" {
  sensitive = true
  default   = "sensitive-in-code"
}
resource "terraform_data" "replaced" {
  input            = { list = ["a", "b", "c"], hushed = var.hush, policy = jsonencode({ a = [1] }) }
  triggers_replace = ["one"]
}
resource "terraform_data" "changed" {
  input = "one\\ntwo\\nthree"
}
resource "terraform_data" "old" {}
resource "terraform_data" "forgotten" {}
resource "terraform_data" "gone" {
  count = 1
}
module "net" {
  source = "./net"
  size   = 1
}
"""
AFTER = """
variable "hush" {
  sensitive = true
  default   = "another-sensitive-one"
}
resource "terraform_data" "replaced" {
  input            = { list = ["b", "c"], hushed = var.hush, policy = jsonencode({ a = [2] }) }
  triggers_replace = ["two"]
}
resource "terraform_data" "changed" {
  input = "one\\n2\\nthree"
}
moved {
  from = terraform_data.old
  to   = terraform_data.new
}
resource "terraform_data" "new" {}
removed {
  from = terraform_data.forgotten
  lifecycle {
    destroy = false
  }
}
resource "terraform_data" "gone" {
  count = 0
}
import {
  to = terraform_data.imported
  id = "an-id"
}
resource "terraform_data" "imported" {}
module "net" {
  source = "./net"
  size   = 2
}
output "id" {
  value = terraform_data.replaced.id
}
"""
MODULE = 'variable "size" {}\nresource "terraform_data" "inner" {\n  input = var.size\n}\n'


def by_address(run: Run) -> dict[str, tuple[PlanChange, dict[str, Any]]]:
    """Return each change of a plan, with its values by their path."""
    found = {}
    for one in PlanChange.objects.filter(run=run):
        rows = values_of(run, one.part)[one.number]["rows"]
        found[one.address] = (one, {path: (old, new, forces) for path, old, new, forces in rows})
    return found


def applied(stack: Stack, run: Run, person: User) -> None:
    (planned,) = work()
    assert planned.state == State.UNCONFIRMED, as_text(log_of(run))
    act(planned, Action.CONFIRM, person, "")
    (done,) = work()
    assert done.state == State.FINISHED, as_text(log_of(run))


def test_a_plan_says_what_happens_to_each_attribute_and_why(
    member: Client, stack: Stack, repository: Repository, bob: User
) -> None:
    files: dict[str, str | None] = {"main.tf": HTTP_BACKEND + BEFORE, "net/main.tf": MODULE}
    applied(stack, pushed(stack, repository, files), bob)
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND + AFTER}, Kind.PROPOSED)
    (done,) = work()
    assert done.state == State.FINISHED, as_text(log_of(run))
    found = by_address(done)
    assert [(one.action, address) for address, (one, _) in found.items()] == [
        ("destroy", "terraform_data.gone[0]"),
        ("replace", "terraform_data.replaced"),
        ("change", "terraform_data.changed"),
        ("import", "terraform_data.imported"),
        ("move", "terraform_data.new"),
        ("forget", "terraform_data.forgotten"),
        ("change", "module.net.terraform_data.inner"),
        ("add", "id"),
    ]
    replaced, values = found["terraform_data.replaced"]
    assert replaced.reason == "replace_because_cannot_update"
    assert replaced.forced_by == "triggers_replace"
    unknown = "(known after apply)"
    assert values["triggers_replace[0]"] == ('"one"', '"two"', True)
    assert values["input.list[0]"] == ('"a"', None, False)
    assert values["jsondecode(input.policy).a[0]"] == ("1", "2", False)
    assert values["input.hushed"] == ("(sensitive)", "(sensitive)", False)
    assert values["id"][1:] == (unknown, False)
    assert found["terraform_data.gone[0]"][0].reason == "delete_because_count_index"
    assert found["terraform_data.changed"][1]["input"] == (
        "one\ntwo\nthree", "one\n2\nthree", False,
    )  # fmt: skip
    assert found["terraform_data.new"][0].moved_from == "terraform_data.old"
    inner, values = found["module.net.terraform_data.inner"]
    assert (inner.module, values["input"]) == ("module.net", ("1", "2", False))
    assert found["id"][1] == {"value": (None, unknown, False)}
    pages = [done.get_absolute_url(), f"{done.get_absolute_url()}plan/"]
    pages += [one.get_absolute_url() for one, _ in found.values()]
    # The log is Terraform's own: it shows what a resource copies to an output.
    shown = "".join(
        html.unescape(member.get(page).content.decode()).partition("Lines of the log")[0]
        for page in pages
    )
    assert "Imported with the ID <code>an-id</code>." in shown
    assert "sensitive-in-code" not in shown and "another-sensitive" not in shown
    # Nor are they in what is stored.
    stored = "".join(str(values_of(done, one.part)) for one, _ in found.values())
    assert "sensitive-in-code" not in stored and "another-sensitive" not in stored


def test_secrets_of_a_stack_are_masked_in_the_values_of_a_plan(
    member: Client, stack: Stack, repository: Repository
) -> None:
    StackVariable.objects.create(
        stack=stack,
        name="TF_VAR_key",
        value="Hunter2-Hunter2",
        is_secret=True,
        runs=Runs.ALL,
    )
    assert "Hunter2-Hunter2" in str(environment_of(stack, Kind.PROPOSED))
    code = """
variable "key" {}
resource "terraform_data" "a" {
  for_each = { (var.key) = base64encode(var.key) }
  input    = { (var.key) = each.value, deep = [jsonencode({ a = var.key })], kept = "kept" }
}
"""
    pushed(stack, repository, {"main.tf": HTTP_BACKEND + code}, Kind.PROPOSED)
    (done,) = work()
    assert done.state == State.FINISHED, as_text(log_of(done))
    [one] = PlanChange.objects.filter(run=done)
    said = str(values_of(done, one.part)) + repr(vars(one))
    said += member.get(one.get_absolute_url()).content.decode()
    assert MASK in said and "kept" in said
    assert not re.search("hunter|SHVudGVy", said, re.IGNORECASE)


@pytest.mark.parametrize("printed", ["", "{", "[]", '{"resource_changes": [{"address": "a"}]}'])
def test_a_plan_that_is_no_json_ends_no_run(
    printed: str,
    member: Client,
    stack: Stack,
    repository: Repository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "stacks.execution.tools.terraform.show_command", lambda *_: ["printf", "%s", printed]
    )
    pushed(stack, repository, {"main.tf": HTTP_BACKEND + BEFORE, "net/main.tf": MODULE})
    (waiting,) = work()
    assert (waiting.state, waiting.added) == (State.UNCONFIRMED, None)
    assert not PlanChange.objects.exists()
    assert "could not read this plan" in member.get(waiting.get_absolute_url()).content.decode()


def test_a_worker_that_lost_its_run_stores_nothing_more(
    stack: Stack, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(entries: list[Entry], mask: Mask) -> Iterator[Found]:
        Run.objects.update(lease_token="of another worker")
        yield from read_changes(entries, mask)

    monkeypatch.setattr("stacks.execution.job.read_changes", read)
    run = pushed(stack, repository, {"main.tf": HTTP_BACKEND + THREE}, Kind.PROPOSED)
    work()
    run.refresh_from_db()
    assert run.state == State.PLANNING
    assert not PlanChange.objects.exists()
