"""The models of stacks, each in the file of its name."""

from stacks.models.decision import Decision, prune_decisions
from stacks.models.run import PullRequest, Run
from stacks.models.stack import Stack, stacks_depending_on

__all__ = ["Decision", "PullRequest", "Run", "Stack", "prune_decisions", "stacks_depending_on"]
