"""The models of stacks, each in the file of its name."""

from stacks.models.decision import Decision, prune_decisions
from stacks.models.dependency import Dependency, DependencyRun, StateGrant
from stacks.models.job import Approval, LogChunk, PlanFile, RunAction, plan_digest_of
from stacks.models.module_source import ModulePush, ModuleSource, ProposedModule, RegistrySource
from stacks.models.plan import PlanChange, PlanPart, values_of
from stacks.models.pruning import oldest_kept, prune_runs
from stacks.models.report import Report
from stacks.models.run import PullRequest, Run, RunSource
from stacks.models.schedule import Schedule
from stacks.models.stack import Backend, Confirmers, Reach, Stack, TeamRole, Tool
from stacks.models.state import (
    RunCredential,
    StateContent,
    StateLock,
    StateUpload,
    StateVersion,
    prune_uploads,
)
from stacks.models.variable import (
    Attachment,
    FormerSecret,
    Runs,
    SharedEnvironment,
    SharedVariable,
    StackVariable,
    Variable,
)

__all__ = [
    "Approval",
    "Attachment",
    "Backend",
    "Confirmers",
    "Decision",
    "Dependency",
    "DependencyRun",
    "FormerSecret",
    "LogChunk",
    "ModulePush",
    "ModuleSource",
    "PlanChange",
    "PlanFile",
    "PlanPart",
    "ProposedModule",
    "PullRequest",
    "Reach",
    "RegistrySource",
    "Report",
    "Run",
    "RunAction",
    "RunCredential",
    "RunSource",
    "Runs",
    "Schedule",
    "SharedEnvironment",
    "SharedVariable",
    "Stack",
    "StackVariable",
    "StateContent",
    "StateGrant",
    "StateLock",
    "StateUpload",
    "StateVersion",
    "TeamRole",
    "Tool",
    "Variable",
    "oldest_kept",
    "plan_digest_of",
    "prune_decisions",
    "prune_runs",
    "prune_uploads",
    "values_of",
]
