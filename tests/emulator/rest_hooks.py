"""REST routes about service hooks (Azure DevOps documentation, "Service Hooks" in the REST API
reference)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from werkzeug import Response

from . import shapes
from .delivery import MASK, Deliveries, custom_headers
from .hook_rules import EVENT_TYPES, HookRuleError, check_consumer
from .model import NO_SUBSCRIPTION, Notification, Organization, Subscription
from .shapes import Json, timestamp
from .web import ApiError, Call, Route, collection, json_response

_ACTION = "httpRequest"
_NEVER = "0001-01-01T00:00:00"
_EDIT = "edit_subscriptions"
_WRITABLE_STATES = {"enabled", "disabledByUser"}


class Hooks:
    """The routes; a test notification goes to the delivery queue."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    def routes(self) -> list[Route]:
        """Return all routes about service hooks."""
        scopes = frozenset({"vso.code", "vso.work", "vso.build"})
        one, events = "_apis/hooks/subscriptions/{subscription}", "_apis/hooks/publishers/tfs"
        table = [
            ("GET", "_apis/hooks/subscriptions", list_subscriptions),
            ("POST", "_apis/hooks/subscriptions", create_subscription),
            ("GET", one, show_subscription),
            ("PUT", one, replace_subscription),
            ("DELETE", one, delete_subscription),
            ("POST", "_apis/hooks/subscriptionsquery", query_subscriptions),
            ("POST", "_apis/hooks/testnotifications", self.create_test_notification),
            ("GET", f"{one}/notifications", list_notifications),
            ("GET", f"{one}/notifications/{{notification}}", show_notification),
            ("GET", f"{events}/eventtypes", list_event_types),
            ("GET", "_apis/hooks/consumers/webHooks", show_consumer),
        ]
        return [Route(method, template, handler, scopes) for method, template, handler in table]

    def create_test_notification(self, call: Call) -> Response:
        """Send sample data to a saved subscription or to the inputs in the body."""
        body = call.json()
        details = _object(body, "details")
        key = str(body.get("subscriptionId") or NO_SUBSCRIPTION)
        subscription = None if key == NO_SUBSCRIPTION else _subscription(call, key, _EDIT)
        if subscription is None and call.query.flag("useRealData"):
            raise _bad("Real data can be sent for saved subscriptions only.")
        if subscription:
            event_type, inputs = subscription.event_type, subscription.consumer_inputs
        else:
            _require_edit(call, details)
            event_type = str(details.get("eventType") or body.get("eventType") or "")
            inputs = _texts(details, "consumerInputs")
            _check_test(call.organization, event_type, inputs)
        notification = self._deliveries.send_test(
            call.organization, event_type, inputs, subscription
        )
        return json_response(notification_json(notification))


# Subscriptions


def list_subscriptions(call: Call) -> Response:
    """List the subscriptions of the organization that the caller may see, filtered by the query."""
    names = ("publisherId", "eventType", "consumerId", "consumerActionId")
    wanted = {name: value for name in names if (value := call.query.text(name))}
    found = [one for one in _visible(call) if _is_kind(one, wanted)]
    return collection(subscription_json(call, one) for one in found)


def create_subscription(call: Call) -> Response:
    """Keep a new subscription; 400 with a message for one that breaks a rule."""
    _require_edit(call, call.json())
    event_type, version, publisher, consumer = _read(call)
    with _explained_rules():
        made = call.organization.subscribe(event_type, publisher, consumer, call.user, version)
    return json_response(subscription_json(call, made))


def show_subscription(call: Call) -> Response:
    """Show one subscription with its secrets masked."""
    return json_response(subscription_json(call, _subscription(call, call.values["subscription"])))


def replace_subscription(call: Call) -> Response:
    """Replace every field by what the body says; a masked secret is taken literally.

    A subscription on probation or disabled by the system stays what it is.
    """
    subscription = _subscription(call, call.values["subscription"], _EDIT)
    _require_edit(call, call.json())
    event_type, version, publisher, consumer = _read(call)
    with _explained_rules():
        subscription.replace(event_type, version, publisher, consumer, call.user)
    status = call.json().get("status", "enabled")
    if status in _WRITABLE_STATES and subscription.status in _WRITABLE_STATES:
        subscription.set_status(status)
    return json_response(subscription_json(call, subscription))


def delete_subscription(call: Call) -> Response:
    """Forget a subscription."""
    found = _subscription(call, call.values["subscription"], _EDIT, "delete_subscriptions")
    call.organization.unsubscribe(found)
    return Response(status=204)


def query_subscriptions(call: Call) -> Response:
    """Answer the query with its results; filters are alternatives, conditions add up."""
    query = call.json()
    names = ("publisherId", "eventType", "consumerId", "consumerActionId")
    wanted = {name: str(query[name]) for name in names if query.get(name)}
    found = [
        one
        for one in _visible(call)
        if _is_kind(one, wanted)
        and _passes(one.publisher_inputs, query.get("publisherInputFilters"))
        and _passes(one.consumer_inputs, query.get("consumerInputFilters"))
    ]
    return json_response(query | {"results": [subscription_json(call, one) for one in found]})


def _is_kind(one: Subscription, wanted: dict[str, str]) -> bool:
    actual = {
        "publisherId": "tfs",
        "eventType": one.event_type,
        "consumerId": "webHooks",
        "consumerActionId": _ACTION,
    }
    return all(actual[name].lower() == value.lower() for name, value in wanted.items())


def _passes(inputs: dict[str, str], filters: Any) -> bool:
    if not isinstance(filters, list) or not filters:
        return True
    return any(
        all(_holds(inputs, condition) for condition in alternative.get("conditions") or [])
        for alternative in filters
    )


def _holds(inputs: dict[str, str], condition: dict[str, Any]) -> bool:
    actual = inputs.get(str(condition.get("inputId")), "")
    is_equal = actual.lower() == str(condition.get("inputValue", "")).lower()
    return not is_equal if condition.get("operator") == "notEquals" else is_equal


def _read(call: Call) -> tuple[str, str, dict[str, str], dict[str, str]]:
    body = call.json()
    fixed = {"publisherId": "tfs", "consumerId": "webHooks", "consumerActionId": _ACTION}
    for name, value in fixed.items():
        if str(body.get(name, "")).lower() != value.lower():
            raise _bad(f"The {name} '{body.get(name)}' is not known.")
    return (
        str(body.get("eventType") or ""),
        str(body.get("resourceVersion") or "1.0"),
        _texts(body, "publisherInputs"),
        _texts(body, "consumerInputs"),
    )


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name) or {}
    if not isinstance(value, dict):
        raise _bad(f"'{name}' must be an object.")
    return value


def _texts(body: dict[str, Any], name: str) -> dict[str, str]:
    inputs = _object(body, name)
    if not all(isinstance(value, str) for value in inputs.values()):
        raise _bad(f"All values of '{name}' must be strings.")
    hidden = {"tfsSubscriptionId", "hostId"}
    return {key: value for key, value in inputs.items() if key not in hidden}


def _check_test(organization: Organization, event_type: str, inputs: dict[str, str]) -> None:
    if event_type not in EVENT_TYPES:
        raise _bad(f"The event type '{event_type}' is not known to the publisher 'tfs'.")
    with _explained_rules():
        check_consumer(inputs, organization.state.allow_local_hooks)


@contextmanager
def _explained_rules() -> Iterator[None]:
    """Turn a broken rule into the answer 400."""
    try:
        yield
    except HookRuleError as error:
        raise _bad(str(error)) from None


def _bad(message: str) -> ApiError:
    return ApiError(400, "SubscriptionInputException", message)


def _visible(call: Call) -> list[Subscription]:
    return [one for one in call.organization.subscriptions if _sees(call, one)]


def _sees(call: Call, one: Subscription) -> bool:
    return one.project is not None and call.may("view_subscriptions", one.project)


def _subscription(call: Call, key: str, *rights: str) -> Subscription:
    """Return a subscription; 404 for one that the caller may not see, 403 without the rights."""
    found = call.organization.subscription(key)
    if found is None or found.project is None or not _sees(call, found):
        message = f"The subscription {key} was not found."
        raise ApiError(404, "SubscriptionNotFoundException", message)
    for right in rights:
        call.require(right, found.project)
    return found


def _require_edit(call: Call, body: dict[str, Any]) -> None:
    """Raise 403 unless the caller may edit subscriptions of the project that the body names."""
    inputs = body.get("publisherInputs")
    key = inputs.get("projectId") if isinstance(inputs, dict) else None
    project = call.organization.project(key) if isinstance(key, str) else None
    if project:
        call.require(_EDIT, project)


# Notifications


def list_notifications(call: Call) -> Response:
    """List the delivery log of a subscription, newest first."""
    status, result = call.query.text("status"), call.query.text("result")
    found = [
        one
        for one in _notifications(call)
        if status in (None, one.status) and result in (None, one.result)
    ]
    limit = call.query.number("maxResults", 100)
    return collection(notification_json(one) for one in found[:limit])


def show_notification(call: Call) -> Response:
    """Show one entry of the delivery log."""
    key = call.values["notification"]
    found = next((one for one in _notifications(call) if str(one.id) == key), None)
    if found is None:
        raise ApiError(
            404, "NotificationNotFoundException", f"The notification {key} was not found."
        )
    return json_response(notification_json(found))


def _notifications(call: Call) -> list[Notification]:
    key = call.values["subscription"].lower()
    if key != NO_SUBSCRIPTION:
        _subscription(call, key)
    return [one for one in reversed(call.organization.history) if one.subscription_id == key]


# Descriptions


def list_event_types(call: Call) -> Response:
    """List the events one can subscribe to, with their inputs."""
    return collection(
        {
            "id": event_type,
            "publisherId": "tfs",
            "name": name,
            "supportedResourceVersions": ["1.0"],
            "inputDescriptors": [{"id": "projectId"}, {"id": "repository"}, {"id": "branch"}],
        }
        for event_type, name in EVENT_TYPES.items()
    )


def show_consumer(call: Call) -> Response:
    """Describe the consumer that posts JSON to a URL."""
    inputs = [
        {"id": "url", "isConfidential": False, "validation": {"isRequired": True}},
        {"id": "httpHeaders", "isConfidential": True},
        {"id": "basicAuthUsername", "isConfidential": False},
        {"id": "basicAuthPassword", "isConfidential": True},
        {"id": "resourceDetailsToSend", "isConfidential": False},
        {"id": "messagesToSend", "isConfidential": False},
        {"id": "detailedMessagesToSend", "isConfidential": False},
        {"id": "acceptUntrustedCerts", "isConfidential": False},
    ]
    action = {"id": _ACTION, "consumerId": "webHooks", "inputDescriptors": inputs}
    return json_response({"id": "webHooks", "name": "Web Hooks", "actions": [action]})


# Shapes


def masked(inputs: dict[str, str]) -> dict[str, str]:
    """Return consumer inputs without their secrets."""
    shown = dict(inputs)
    if shown.get("basicAuthPassword"):
        shown["basicAuthPassword"] = MASK
    if shown.get("httpHeaders"):
        shown["httpHeaders"] = "\n".join(f"{name}:{MASK}" for name in custom_headers(inputs))
    return shown


def subscription_json(call: Call, one: Subscription) -> Json:
    """Return a subscription as it is read back: masked, with ids and empty filters added."""
    url = f"{call.base}/_apis/hooks/subscriptions/{one.id}"
    consumer = f"{call.base}/_apis/hooks/consumers/webHooks"
    filters = {"branch": "", "repository": "", "projectId": ""}
    last_retry = one.probation.last_retry if one.probation else None
    return {
        "id": one.id,
        "url": url,
        "status": one.status,
        "publisherId": "tfs",
        "eventType": one.event_type,
        "subscriber": None,
        "resourceVersion": one.resource_version,
        "eventDescription": f"Project {one.project.name}" if one.project else "",
        "consumerId": "webHooks",
        "consumerActionId": _ACTION,
        "actionDescription": f"To {one.consumer_inputs['url']}",
        "probationRetries": one.probation.retries if one.probation else 0,
        "createdBy": shapes.identity(call.base, one.created_by),
        "createdDate": timestamp(one.created_date),
        "modifiedBy": shapes.identity(call.base, one.modified_by),
        "modifiedDate": timestamp(one.modified_date),
        "lastProbationRetryDate": timestamp(last_retry) if last_retry else _NEVER,
        "publisherInputs": filters
        | one.publisher_inputs
        | {"tfsSubscriptionId": one.tfs_subscription_id, "hostId": call.organization.id},
        "consumerInputs": masked(one.consumer_inputs),
        "_links": {
            "self": {"href": url},
            "consumer": {"href": consumer},
            "actions": {"href": f"{consumer}/actions"},
            "notifications": {"href": f"{url}/notifications"},
            "publisher": {"href": f"{call.base}/_apis/hooks/publishers/tfs"},
        },
    }


def notification_json(one: Notification) -> Json:
    """Return one entry of the delivery log."""
    answer = one.response_body
    if one.response_status is not None:
        answer = f"Status Code: {one.response_status}\n\n{answer}"
    sent = timestamp(one.sent_date) if one.sent_date else None
    completed = timestamp(one.completed_date) if one.completed_date else None
    return {
        "id": one.id,
        "subscriptionId": one.subscription_id,
        "eventId": one.event["id"],
        "status": one.status,
        "result": one.result,
        "createdDate": timestamp(one.created_date),
        "modifiedDate": completed or sent or timestamp(one.created_date),
        "details": {
            "eventType": one.event["eventType"],
            "publisherId": "tfs",
            "consumerId": "webHooks",
            "consumerActionId": _ACTION,
            "publisherInputs": one.publisher_inputs,
            "consumerInputs": masked(one.consumer_inputs),
            "event": one.event,
            "request": one.request,
            "response": answer,
            "errorMessage": one.error,
            "errorDetail": one.error_detail or None,
            "requestAttempts": one.attempts,
            "requestDuration": one.duration,
            "queuedDate": timestamp(one.created_date),
            "dequeuedDate": sent,
            "processedDate": sent,
            "completedDate": completed,
        },
    }
