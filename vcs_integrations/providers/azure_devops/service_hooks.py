"""Service hooks as Azure DevOps writes and reads them ("Subscriptions" in its REST reference).

Pure. A subscription is for one event of one project. Those made over REST have to ask for
whole resources explicitly: without that, reduced ones were delivered.
"""

import re

from vcs_integrations.providers.azure_devops import shapes
from vcs_integrations.providers.azure_devops.shapes import Json, child, text
from vcs_integrations.providers.base import (
    Hook,
    HookStatus,
    RemoteNotification,
    RemoteSubscription,
)

# With 2.0 pushes and pull requests were delivered without their resource.
RESOURCE_VERSION = "1.0"
DETAILS = ("resourceDetailsToSend", "messagesToSend", "detailedMessagesToSend")
# What Azure DevOps itself adds to the inputs ("Create a service hooks subscription").
ADDED_INPUTS = {"projectId", "tfsSubscriptionId", "hostId"}
STATUSES = {
    "": HookStatus.ENABLED,  # old ones have none
    "enabled": HookStatus.ENABLED,
    "onprobation": HookStatus.ON_PROBATION,
    "disabledbyuser": HookStatus.DISABLED_BY_USER,
    "disabledbysystem": HookStatus.DISABLED_BY_SYSTEM,
    "disabledbyinactiveidentity": HookStatus.OWNER_INACTIVE,
}
STATUS_CODE = re.compile(r"status code: (\d{3})", re.IGNORECASE)


def subscription_body(hook: Hook) -> Json:
    """Return the body that makes a hook, or makes a subscription into it."""
    return {
        "publisherId": "tfs",
        "eventType": hook.event_type,
        "resourceVersion": RESOURCE_VERSION,
        "consumerId": "webHooks",
        "consumerActionId": "httpRequest",
        "publisherInputs": {"projectId": hook.project_id, "repository": "", "branch": ""},
        "consumerInputs": {
            "url": hook.url,
            "basicAuthUsername": hook.username,
            "basicAuthPassword": hook.password,
            **dict.fromkeys(DETAILS, "all"),
        },
    }


def subscription(item: Json) -> RemoteSubscription:
    """Read a subscription; of its inputs those alone that Stackhook knows."""
    publisher, consumer = child(item, "publisherInputs"), child(item, "consumerInputs")
    details = [text(consumer, name).lower() for name in DETAILS]
    version = text(item, "resourceVersion")
    return RemoteSubscription(
        # In the form that webhook requests are read into.
        external_id=shapes.guid(item, "id") or text(item, "id")[:100],
        event_type=text(item, "eventType")[:100],
        project_id=text(publisher, "projectId").lower()[:100],
        url=text(consumer, "url"),
        status=STATUSES.get(text(item, "status").lower(), HookStatus.UNKNOWN),
        username=shapes.line(consumer, "basicAuthUsername", 100),
        owner=shapes.line(child(item, "createdBy"), "displayName", 200),
        changed_by=shapes.line(child(item, "modifiedBy"), "displayName", 200),
        filters=", ".join(
            name for name in sorted(publisher) if name not in ADDED_INPUTS and text(publisher, name)
        )[:200],
        sends_all=all(word == "all" for word in details),
        sends_less=details[0] in {"minimal", "none"},
        is_wrong_version=not version.startswith("1") and version != "latest" and version != "",
    )


def notification(item: Json) -> RemoteNotification:
    """Read an entry of the delivery history ("Notifications - Get")."""
    details = child(item, "details")
    answer, error = text(details, "response"), text(details, "errorMessage")
    code = STATUS_CODE.search(answer)
    seconds = details.get("requestDuration")
    status = text(item, "status").lower()
    return RemoteNotification(
        is_done=status == "completed",
        succeeded=text(item, "result").lower() == "succeeded",
        status_code=int(code[1]) if code else None,
        answer=answer[:2000],
        error=error[:500],
        seconds=float(seconds) if isinstance(seconds, int | float) else None,
        is_under_way=status in {"processing", "requestinprogress"},
    )
