"""What people see of runs that fail, with real Terraform: its errors, without secrets."""

import html

from django.test import Client

from accounts.models import User
from stacks.execution.output.masking import MASK
from stacks.lifecycle.actions import Action, act
from stacks.models import Stack, StackVariable
from stacks.rules.states import State
from stacks.sources.heads import follow_from_now
from tests.emulator.model import Repository
from tests.stacks.execution.conftest import HTTP_BACKEND, work
from tests.stacks.reports.sender import look, send_all, summaries

SECRET = "Hunter2-Hunter2"
MISSING = f"""variable "first" {{ description = "{SECRET}" }}
variable "second" {{}}
"""
FIRST = f"""Error: No value for required variable

  on main.tf line 4:
   4: variable "first" {{ description = "{MASK}" }}
"""
SECOND = """Error: No value for required variable

  on main.tf line 5:
   5: variable "second" {}
"""


def add_secret(stack: Stack) -> None:
    StackVariable.objects.create(stack=stack, name="TF_VAR_password", value=SECRET, is_secret=True)


def test_the_errors_of_a_plan_are_on_the_page_and_in_the_comment(
    member: Client, stack: Stack, repository: Repository
) -> None:
    add_secret(stack)
    assert follow_from_now(stack) is None
    repository.push({"main.tf": HTTP_BACKEND + MISSING}, "topic")
    request = repository.open_pull_request("topic")
    look(stack)
    (done,) = work()
    assert done.state == State.FAILED
    assert done.failure.startswith("The plan failed. ")
    assert "TF_VAR_" in done.failure  # where to set the value
    send_all()
    page = html.unescape(member.get(done.get_absolute_url()).content.decode())
    comment = request.threads[0].comments[0].content
    for shown in (page, comment):
        assert FIRST in shown
        assert SECOND in shown
        assert SECRET not in shown
        assert "The end of the log says why" not in shown
    says = "Run 1 failed: No value for required variable"
    [(state, description)] = summaries(request.statuses)
    assert state == "failed"
    assert description.startswith(says)
    assert SECRET not in description


REFUSED = """variable "password" {}
resource "terraform_data" "refused" {
  lifecycle {
    postcondition {
      condition     = self.id == "known"
      error_message = "It is not ${var.password}."
    }
  }
}
"""


def test_the_errors_of_an_apply_are_on_the_page_and_in_the_status(
    bob: User, member: Client, stack: Stack, repository: Repository
) -> None:
    add_secret(stack)
    assert follow_from_now(stack) is None
    sha = repository.push({"main.tf": HTTP_BACKEND + REFUSED})
    look(stack)
    (planned,) = work()
    act(planned, Action.CONFIRM, bob, "")
    (done,) = work()
    assert done.failure.startswith("The apply failed. Part of it may have been done")
    send_all()
    page = html.unescape(member.get(done.get_absolute_url()).content.decode())
    assert "Error: Resource postcondition failed\n\n  on main.tf line 8" in page
    assert f"It is not {MASK}." in page
    assert SECRET not in page
    state, description = summaries(repository.statuses[sha])[-1]
    assert state == "failed"
    assert description.startswith("Run 1 failed: Resource postcondition failed")
    assert SECRET not in description
