"""The models of linked organizations, each in the file of its name."""

from vcs_integrations.models.checkup import Checkup
from vcs_integrations.models.credentials import Credentials
from vcs_integrations.models.delivery import OUTCOME_TEXTS, REPLAYABLE, Delivery
from vcs_integrations.models.endpoint import Endpoint
from vcs_integrations.models.hook_test import HookTest, Verdict
from vcs_integrations.models.hook_watch import HookWatch
from vcs_integrations.models.integration import (
    EXPIRY_NOTICE,
    REFRESH_EVERY,
    Integration,
    takes_reports,
)
from vcs_integrations.models.notice import MailState, Notice, NoticeKind, NoticeMail
from vcs_integrations.models.project import Project
from vcs_integrations.models.repository import (
    RECONCILE_EVERY,
    WORDS_OF_A_SEARCH,
    Repository,
    search_key,
    search_words,
)
from vcs_integrations.models.subscription import (
    READ_FIELDS,
    REMOVED_BY_SOMEBODY,
    HookAction,
    HookState,
    Subscription,
)
from vcs_integrations.models.webhook_secret import WebhookSecret

__all__ = [
    "EXPIRY_NOTICE",
    "OUTCOME_TEXTS",
    "READ_FIELDS",
    "RECONCILE_EVERY",
    "REFRESH_EVERY",
    "REMOVED_BY_SOMEBODY",
    "REPLAYABLE",
    "WORDS_OF_A_SEARCH",
    "Checkup",
    "Credentials",
    "Delivery",
    "Endpoint",
    "HookAction",
    "HookState",
    "HookTest",
    "HookWatch",
    "Integration",
    "MailState",
    "Notice",
    "NoticeKind",
    "NoticeMail",
    "Project",
    "Repository",
    "Subscription",
    "Verdict",
    "WebhookSecret",
    "search_key",
    "search_words",
    "takes_reports",
]
