"""The models of modules, each in the file of its name."""

from modules.models.check import Check, CheckState, Outcome, Result
from modules.models.decision import ModuleDecision, prune_module_decisions
from modules.models.download import Download
from modules.models.impact import Impact, ImpactPlan
from modules.models.module import Module, VersionsFrom
from modules.models.tag import Tag
from modules.models.version import Archive, ArchiveChunk, ModuleVersion, VersionState

__all__ = [
    "Archive",
    "ArchiveChunk",
    "Check",
    "CheckState",
    "Download",
    "Impact",
    "ImpactPlan",
    "Module",
    "ModuleDecision",
    "ModuleVersion",
    "Outcome",
    "Result",
    "Tag",
    "VersionState",
    "VersionsFrom",
    "prune_module_decisions",
]
