"""By which rules tags, pushes and pull requests have meant something for a module, or nothing."""

from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """Why a tag or push led to a version, or to none; the word is stored, so it never changes."""

    VERSION = "version"
    SAME_VERSION = "same_version"
    NO_VERSION = "no_version"
    OTHER_PREFIX = "other_prefix"
    NO_COMMIT = "no_commit"
    TOO_MANY = "too_many"
    MOVED = "moved"
    DELETED = "deleted"
    PASSED_BY = "passed_by"
    UNREADABLE = "unreadable"
    FROM_FILE = "from_file"
    FROM_TAGS = "from_tags"
    OTHER_BRANCH = "other_branch"
    BRANCH_DELETED = "branch_deleted"
    BEFORE_MODULE = "before_module"
    UNTOUCHED = "untouched"
    INVALID_FILE = "invalid_file"
    PROPOSED = "proposed"
    FORK = "fork"
    OTHER_TARGET = "other_target"
    ENDED = "ended"
    DECIDED = "decided"


RULE_TEXTS = {
    Rule.VERSION: "New version",
    Rule.SAME_VERSION: "Version is there",
    Rule.NO_VERSION: "No version",
    Rule.OTHER_PREFIX: "Other prefix",
    Rule.NO_COMMIT: "No commit",
    Rule.TOO_MANY: "Too many tags",
    Rule.MOVED: "Tag moved",
    Rule.DELETED: "Tag deleted",
    Rule.PASSED_BY: "Outdated",
    Rule.UNREADABLE: "Unreadable",
    Rule.FROM_FILE: "Versions from file",
    Rule.FROM_TAGS: "Versions from tags",
    Rule.OTHER_BRANCH: "Other branch",
    Rule.BRANCH_DELETED: "Branch deleted",
    Rule.BEFORE_MODULE: "Before the module",
    Rule.UNTOUCHED: "Module unchanged",
    Rule.INVALID_FILE: "No version in file",
    Rule.PROPOSED: "Checked",
    Rule.FORK: "Fork",
    Rule.OTHER_TARGET: "Other target",
    Rule.ENDED: "Pull request ended",
    Rule.DECIDED: "Decided before",
}
# What may be decided about one subject again and again, each time that a delivery tells of it.
REPEATED = (Rule.OTHER_TARGET, Rule.ENDED, Rule.DECIDED)
# About pushes to branches only deliveries have these decisions: there would be one for each push.
ONLY_FOR_DELIVERIES = {Rule.FROM_TAGS, Rule.OTHER_BRANCH, *REPEATED}


# By these, an open pull request is not checked: its statuses say so, as a policy may wait for them.
LEFT_OUT = {Rule.UNTOUCHED, Rule.FORK}


@dataclass(frozen=True)
class Decided:
    """The rule that decided, and a sentence for people."""

    rule: Rule
    sentence: str
