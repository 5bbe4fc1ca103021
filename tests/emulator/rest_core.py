"""REST routes about the organization: who is asking, and which projects there are."""

from werkzeug import Response

from . import shapes
from .web import ApiError, Call, Route, collection, json_response, project_missing

PAGE_SIZE = 100


def connection_data(call: Call) -> Response:
    """Say who the token belongs to and which organization this is."""
    user = {
        "id": call.user.id,
        "descriptor": f"Microsoft.IdentityModel.Claims.ClaimsIdentity;{call.user.email}",
        "subjectDescriptor": f"aad.{call.user.id}",
        "providerDisplayName": call.user.name,
        "isActive": True,
        "properties": {"Account": {"$type": "System.String", "$value": call.user.email}},
    }
    return json_response(
        {
            "authenticatedUser": user,
            "authorizedUser": user,
            "instanceId": call.organization.id,
            "deploymentId": call.organization.account_id,
            "deploymentType": "hosted",
            "locationServiceData": {"serviceOwner": "00025394-6065-48ca-87d9-7f5672854ef7"},
        }
    )


def resource_areas(call: Call) -> Response:
    """List no areas: every area answers at the organization's own URL."""
    return collection([])


def list_projects(call: Call) -> Response:
    """List projects, 100 a page unless `$top` says otherwise."""
    start = call.query.number("continuationToken", 0) + call.query.number("$skip", 0)
    end = start + call.query.number("$top", PAGE_SIZE)
    everything = call.organization.projects
    headers = {"x-ms-continuationtoken": str(end)} if end < len(everything) else {}
    return collection((shapes.project(call.base, one) for one in everything[start:end]), headers)


def show_project(call: Call) -> Response:
    """Show one project, found by name or id."""
    project = call.project()
    if project is None:
        raise project_missing("")
    return json_response(shapes.project(call.base, project))


def method_not_allowed(method: str) -> ApiError:
    """Return the answer for a route that does not know the method."""
    message = f"The requested resource does not support http method '{method}'."
    return ApiError(405, "UnsupportedHttpMethodException", message)


_PROJECT_SCOPES = frozenset({"vso.project", "vso.profile"})
PREVIEW_ONLY = {connection_data, resource_areas}
ROUTES = [
    Route("GET", "_apis/connectionData", connection_data),
    Route("GET", "_apis/resourceAreas", resource_areas),
    Route("GET", "_apis/projects", list_projects, _PROJECT_SCOPES),
    Route("GET", "_apis/projects/{project}", show_project, _PROJECT_SCOPES),
]
