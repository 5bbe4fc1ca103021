"""REST routes about permissions ("Permissions" in the Security REST API reference)."""

from __future__ import annotations

from typing import Any

from werkzeug import Response

from .errors import RefusedError
from .rights import RIGHTS, has_bits
from .web import ApiError, Call, Route, collection, json_response, unauthorized

_SCOPE = frozenset({"vso.security_manage"})


def has_permissions(call: Call) -> Response:
    """Say for each token whether the caller has all permissions of the bit mask."""
    if refusal := _refusal(call):
        return refusal
    namespace, mask = call.values["namespace"], call.values["permissions"]
    _check_namespace(namespace)
    if not (mask.isascii() and mask.isdigit()):
        raise RefusedError(f"The value '{mask}' is not valid for permissions.")
    tokens = (call.query.text("tokens") or "").split(call.query.text("delimiter") or ",")
    return collection(_has(call, namespace, int(mask), token) for token in tokens)


def evaluate_batch(call: Call) -> Response:
    """Answer a list of evaluations with their values."""
    if refusal := _refusal(call):
        return refusal
    body = call.json()
    evaluations = body.get("evaluations")
    if not isinstance(evaluations, list) or not all(isinstance(one, dict) for one in evaluations):
        raise RefusedError("The body needs a list of evaluations.")
    return json_response(body | {"evaluations": [_evaluated(call, one) for one in evaluations]})


def _evaluated(call: Call, one: dict[str, Any]) -> dict[str, Any]:
    namespace, bits = str(one.get("securityNamespaceId")), one.get("permissions")
    _check_namespace(namespace)
    if type(bits) is not int or bits < 0:
        raise RefusedError(f"The value '{bits}' is not valid for permissions.")
    return one | {"value": _has(call, namespace, bits, str(one.get("token") or ""))}


def _has(call: Call, namespace: str, bits: int, token: str) -> bool:
    return has_bits(call.organization.rules, call.user.name, namespace, bits, token)


def _refusal(call: Call) -> Response | None:
    """Return the refusal of an organization that does not let narrow tokens ask."""
    if call.organization.permissions_api or call.token.allows(_SCOPE):
        return None
    return unauthorized(call.request)


def _check_namespace(namespace: str) -> None:
    if namespace.lower() not in {one.namespace for one in RIGHTS.values()}:
        message = f"The security namespace {namespace} does not exist."
        raise ApiError(404, "InvalidSecurityNamespaceException", message)


PREVIEW_ONLY = {has_permissions, evaluate_batch}
ROUTES = [
    Route("GET", "_apis/permissions/{namespace}/{permissions}", has_permissions),
    Route("POST", "_apis/security/permissionevaluationbatch", evaluate_batch),
]
