"""The endpoint of an integration, and requests as Azure DevOps posts them to it."""

import base64
import json
from typing import Any

from django.test import Client
from django.urls import reverse

from tests.builders import store_integration
from vcs_integrations.models import Integration


class Endpoint:
    """A linked organization's endpoint, its password, and a stranger who posts to it."""

    def __init__(self, integration: Integration | None = None) -> None:
        self.integration = integration or store_integration(token="token0canary0token")
        self.password = self.integration.read_webhook_secret().value
        self.path = reverse(
            "integrations:webhook", args=["azure-devops", self.integration.endpoint.uuid]
        )
        self.client = Client(raise_request_exception=True)

    def post(self, body: bytes | dict[str, Any] = b"{}", **options: Any) -> Any:
        """Post as Azure DevOps does; `authorization=None` sends none, `path` goes elsewhere."""
        authorization = options.pop("authorization", basic(self.password))
        headers = options.pop("headers", {})
        if authorization is not None:
            headers["Authorization"] = authorization
        path = options.pop("path", self.path)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "application/json; charset=utf-8"
        return self.client.post(path, data, content_type=kind, headers=headers, **options)


def basic(password: str, user: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
