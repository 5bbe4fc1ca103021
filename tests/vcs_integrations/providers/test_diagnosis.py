"""Every way in which a call fails is named, with what to do, and shows no secret.

The failures are real ones: an emulator with faults, raw sockets, and single answers in the
name of dev.azure.com.
"""

import base64
import contextlib
import datetime
import gzip
import json
import logging
import re
import socket
import ssl
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import responses
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.contrib.messages import get_messages
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from tests.emulator import Emulator
from tests.vcs_integrations.providers.raw_server import RawServer
from vcs_integrations.models import Integration
from vcs_integrations.providers.azure_devops import client as client_module
from vcs_integrations.providers.azure_devops.client import AzureDevOpsClient
from vcs_integrations.providers.base import (
    INTERACTIVE,
    CallLimits,
    Hook,
    Problem,
    ProviderError,
    Status,
    StatusReport,
)

TOKEN = "token0canary0token0canary0token0canary"
ENCODED_TOKEN = base64.b64encode(f":{TOKEN}".encode()).decode()
CANARY = "text-of-the-answer"
QUICK = CallLimits(seconds_per_call=0.6, seconds_in_all=0.6, retries=0)
ENOUGH = CallLimits(seconds_per_call=5, seconds_in_all=5, retries=0)
ORGANIZATION = "https://dev.azure.com/fabrikam"
REPOSITORIES = f"{ORGANIZATION}/_apis/git/repositories"
CONNECTION_DATA = f"{ORGANIZATION}/_apis/connectionData"
JSON_TYPE = "application/json; charset=utf-8; api-version=7.1"
TRANSIENT = {
    Problem.NAME_NOT_RESOLVED,
    Problem.CONNECTION_REFUSED,
    Problem.CONNECTION_CUT,
    Problem.TLS_FAILURE,
    Problem.TIMEOUT,
    Problem.THROTTLED,
    Problem.UNAVAILABLE,
}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def azure(emulator: Emulator) -> Emulator:
    """An emulator with an empty organization that knows the token."""
    organization = emulator.add_organization("fabrikam")
    organization.add_token({"vso.code"}, secret=TOKEN)
    return emulator


def failure(url: str, limits: CallLimits = ENOUGH) -> ProviderError:
    """Connect, which must fail, and check what holds for every failure."""
    with pytest.raises(ProviderError) as caught:
        AzureDevOpsClient(url, TOKEN, limits).connect()
    error = caught.value
    assert error.is_transient == (error.problem in TRANSIENT)
    for sentence in (error.cause, error.fix):
        assert re.fullmatch(r"\S.+ .+ .+\.", sentence)
    assert error.fix[0].isupper() or error.fix.startswith("https://")
    assert str(error) == f"{error.cause} {error.fix}"
    seen = [str(error), repr(error), error.evidence, *traceback.format_exception(error)]
    for text in seen:
        assert TOKEN not in text
        assert ENCODED_TOKEN not in text
        assert CANARY not in text
    return error


def answered(status: int, body: str = "", headers: dict[str, str] | None = None) -> ProviderError:
    """Connect to a dev.azure.com that answers everything so."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as azure:
        html = {"Content-Type": "text/html; charset=utf-8"}
        azure.get(
            re.compile(re.escape(ORGANIZATION)),
            body=body,
            status=status,
            headers=html | (headers or {}),
        )
        return failure(ORGANIZATION)


def http(status_line: str, headers: str = "", body: bytes = b"") -> bytes:
    """Return an answer as its bytes; `headers` are whole lines."""
    head = f"HTTP/1.1 {status_line}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    return f"{head}{headers}\r\n".encode("latin-1") + body


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (403, "The token's owner may not test service hooks of this project."),
        (400, "Azure DevOps refused to test the service hook."),
    ],
)
def test_a_refused_test_of_a_service_hook_is_called_so(status: int, says: str) -> None:
    with responses.RequestsMock() as azure:
        azure.post(
            f"{ORGANIZATION}/_apis/hooks/testnotifications",
            json={"message": "No."},
            status=status,
        )
        with pytest.raises(ProviderError) as caught:
            AzureDevOpsClient(ORGANIZATION, TOKEN, ENOUGH).send_test("a-hook")
    assert caught.value.cause == says
    assert "https addresses" not in caught.value.fix


# Faults of Azure DevOps itself


@pytest.mark.parametrize(
    ("fault", "problem", "says"),
    [
        ("credentials-203", Problem.TOKEN_REFUSED, "refused the token"),
        ("credentials-302", Problem.TOKEN_REFUSED, "refused the token"),
        ("credentials-401-json", Problem.TOKEN_REFUSED, "refused the token"),
        ("anonymous", Problem.TOKEN_REFUSED, "refused the token"),
        ("token-invalid-401", Problem.TOKEN_REFUSED, "refused the token"),
        ("token-expired", Problem.TOKEN_EXPIRED, "has expired"),
        ("conditional-access", Problem.SIGN_IN_POLICY, "conditional access policy"),
        ("permission-denied", Problem.PERMISSION_DENIED, "lacks a permission"),
        ("throttled", Problem.THROTTLED, "for 5 seconds"),
        ("unavailable", Problem.UNAVAILABLE, "HTTP 503"),
        ("stopped", Problem.ORGANIZATION_STOPPED, "The collection is stopped"),
        ("bad-gateway", Problem.UNAVAILABLE, "HTTP 502"),
        ("server-error", Problem.UNAVAILABLE, "HTTP 500"),
        ("not-azure-devops", Problem.NOT_THE_PROVIDER, "did not return"),
        ("not-json", Problem.NOT_THE_PROVIDER, "not the JSON"),
        ("wrong-shape", Problem.NOT_THE_PROVIDER, "not the JSON"),
        ("redirect-elsewhere", Problem.NOT_THE_PROVIDER, "redirects elsewhere"),
        ("organization-unknown", Problem.ORGANIZATION_UNKNOWN, "knows no such organization"),
        ("repository-missing", Problem.NOT_FOUND, "does not exist, is disabled"),
        ("cut", Problem.CONNECTION_CUT, "was cut"),
        ("reset", Problem.CONNECTION_CUT, "was cut"),
    ],
)
def test_a_fault_is_named(azure: Emulator, fault: str, problem: Problem, says: str) -> None:
    azure.faults.add(fault)
    error = failure(f"{azure.url}/fabrikam")
    assert error.problem == problem
    assert says in error.cause


@pytest.mark.parametrize("fault", ["scope-too-narrow", "permission-denied"])
def test_a_known_token_whose_repositories_are_refused_lacks_code_access(
    azure: Emulator, fault: str
) -> None:
    azure.faults.add(fault, path="_apis/git")
    error = failure(f"{azure.url}/fabrikam")
    assert error.problem == Problem.LACKS_CODE_ACCESS
    assert "Code: Read & write" in error.fix


def test_a_token_of_another_scope_lacks_code_access(emulator: Emulator) -> None:
    emulator.add_organization("fabrikam").add_token({"vso.project"}, secret=TOKEN)
    assert failure(f"{emulator.url}/fabrikam").problem == Problem.LACKS_CODE_ACCESS


def test_the_anonymous_user_is_not_a_known_token() -> None:
    anonymous = {"authenticatedUser": {"id": "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"}}
    with responses.RequestsMock() as azure:
        azure.get(REPOSITORIES, status=401)
        azure.get(CONNECTION_DATA, json=anonymous)
        assert failure(ORGANIZATION).problem == Problem.TOKEN_REFUSED


@pytest.mark.parametrize(
    "user", [None, [], "x", {}, {"id": None}, {"id": ["x"]}, {"id": {}}, {"id": 7}]
)
def test_an_unusable_user_is_not_a_known_token(user: Any) -> None:
    with responses.RequestsMock() as azure:
        azure.get(REPOSITORIES, status=401)
        azure.get(CONNECTION_DATA, json={"authenticatedUser": user})
        assert failure(ORGANIZATION).problem == Problem.TOKEN_REFUSED


def test_wrong_and_expired_tokens_and_unknown_organizations(emulator: Emulator) -> None:
    organization = emulator.add_organization("fabrikam")
    assert failure(organization.url).problem == Problem.TOKEN_REFUSED
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    organization.add_token({"vso.code"}, secret=TOKEN, expires_on=past)
    assert failure(organization.url).problem == Problem.TOKEN_EXPIRED
    assert failure(f"{emulator.url}/contoso").problem == Problem.ORGANIZATION_UNKNOWN


def test_retry_after_is_read_where_it_is_a_number_of_seconds(azure: Emulator) -> None:
    azure.faults.add("throttled", seconds=37, times=1)
    azure.faults.add("unavailable", seconds=12, times=1)
    assert failure(f"{azure.url}/fabrikam").retry_after == 37
    assert failure(f"{azure.url}/fabrikam").retry_after == 12


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        (" 60 ", 60),
        ("100000", 3600),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("9" * 5000, None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        (TOKEN, None),
    ],
)
def test_retry_after_is_never_trusted(value: str, seconds: int | None) -> None:
    assert answered(429, headers={"Retry-After": value}).retry_after == seconds


# Single answers of dev.azure.com


@pytest.mark.parametrize(
    ("status", "body", "headers", "problem"),
    [
        (203, "<html>Sign In</html>", {}, Problem.TOKEN_REFUSED),
        (203, '{"value": []}', {"Content-Type": JSON_TYPE}, Problem.TOKEN_REFUSED),
        (
            302,
            "<html>Object moved</html>",
            {"Location": "https://spsprodweu1.vssps.visualstudio.com/_signin?realm=dev.azure.com"},
            Problem.TOKEN_REFUSED,
        ),
        (
            401,
            "",
            {
                "X-TFS-ServiceError": "Access%20Denied%3A%20The%20Personal%20Access%20Token"
                "%20used%20has%20expired."
            },
            Problem.TOKEN_EXPIRED,
        ),
        (401, "", {"WWW-Authenticate": "Basic realm=x"}, Problem.TOKEN_REFUSED),
        (
            401,
            '{"message": "TF400813: The user is not authorized"}',
            {"Content-Type": JSON_TYPE},
            Problem.TOKEN_REFUSED,
        ),
        (401, "VS403463: The conditional access policy has failed", {}, Problem.SIGN_IN_POLICY),
        (403, "VS403463: The conditional access policy has failed", {}, Problem.SIGN_IN_POLICY),
        (203, "VS403463: The conditional access policy has failed", {}, Problem.SIGN_IN_POLICY),
        (403, "<html>Forbidden</html>", {}, Problem.PERMISSION_DENIED),
        (404, "The resource cannot be found.", {}, Problem.ORGANIZATION_UNKNOWN),
        (
            404,
            '{"message": "TF401019: The Git repository does not exist"}',
            {"Content-Type": JSON_TYPE},
            Problem.NOT_FOUND,
        ),
        (
            404,
            '{"message": "TF200016: The following project does not exist"}',
            {"Content-Type": JSON_TYPE},
            Problem.NOT_FOUND,
        ),
        (404, '{"message": "gone"}', {"Content-Type": JSON_TYPE}, Problem.NOT_FOUND),
        (400, "VS850015: bad organization name", {}, Problem.ORGANIZATION_UNKNOWN),
        (400, "Bad Request", {}, Problem.NOT_THE_PROVIDER),
        (407, "", {}, Problem.NOT_THE_PROVIDER),
        (408, "", {}, Problem.UNAVAILABLE),
        (418, "", {}, Problem.NOT_THE_PROVIDER),
        (429, "", {}, Problem.THROTTLED),
        (500, "", {}, Problem.UNAVAILABLE),
        (503, "Azure DevOps is down", {}, Problem.UNAVAILABLE),
        (599, "", {}, Problem.UNAVAILABLE),
        (200, "<html>portal</html>", {}, Problem.NOT_THE_PROVIDER),
        (200, '{"value": []}', {"Content-Type": "text/plain"}, Problem.NOT_THE_PROVIDER),
        (200, '{"value": []}', {"Content-Type": ""}, Problem.NOT_THE_PROVIDER),
        (200, "", {"Content-Type": JSON_TYPE}, Problem.NOT_THE_PROVIDER),
        (200, '{"value": {}}', {"Content-Type": JSON_TYPE}, Problem.NOT_THE_PROVIDER),
        (200, "null", {"Content-Type": JSON_TYPE}, Problem.NOT_THE_PROVIDER),
        (204, "", {}, Problem.NOT_THE_PROVIDER),
        (304, "", {}, Problem.NOT_THE_PROVIDER),
    ],
)
def test_an_answer_is_named(
    status: int, body: str, headers: dict[str, str], problem: Problem
) -> None:
    assert answered(status, body, headers).problem == problem


def test_microsofts_code_is_kept_as_evidence() -> None:
    error = answered(403, "TF401027: You need the Git 'GenericRead' permission")
    assert error.evidence == "HTTP 403, TF401027"


# Azure DevOps' own errors


def error_body(message: str, type_key: str) -> dict[str, Any]:
    """Return an error as Azure DevOps shapes it."""
    name = f"Microsoft.TeamFoundation.{type_key}, Microsoft.TeamFoundation"
    more = {"typeName": name, "typeKey": type_key, "errorCode": 0, "eventId": 3000}
    return {"$id": "1", "innerException": None, "message": message} | more


def of_call(
    call: Callable[[AzureDevOpsClient], object],
    status: int,
    body: dict[str, Any] | str,
    headers: dict[str, str] | None = None,
    organization: str = ORGANIZATION,
) -> ProviderError:
    """Call an Azure DevOps that answers everything so, which must fail."""
    kind = "text/html" if isinstance(body, str) else JSON_TYPE
    text = body if isinstance(body, str) else json.dumps(body)
    with responses.RequestsMock(assert_all_requests_are_fired=False) as azure:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            where = re.compile(re.escape(organization))
            azure.add(method, where, text, status=status, content_type=kind, headers=headers)
        with pytest.raises(ProviderError) as caught:
            call(AzureDevOpsClient(organization, TOKEN, ENOUGH))
    return caught.value


A_HOOK = Hook("git.push", "p", "https://x.example/", "u", "p")
A_STATUS = StatusReport("stackhook", "network", Status.SUCCEEDED, "", "")
CALLS: dict[str, Callable[[AzureDevOpsClient], object]] = {
    "list the repositories": lambda client: client.repositories(),
    "list the branches": lambda client: client.branches("r"),
    "read the commit": lambda client: client.commit("r", "c"),
    "compare two commits": lambda client: client.changes("r", "a", "b", from_merge_base=True),
    "read the push": lambda client: client.push("r", 1),
    "list the pushes": lambda client: client.newest_push("r"),
    "read the pull request": lambda client: client.pull_request("r", 1),
    "list the pull requests": lambda client: [*client.pull_requests("r", open_only=False)],
    "list the pull request's iterations": lambda client: client.revisions("r", 1),
    "list the pull request's changes": lambda client: client.revision_changes("r", 1, 1),
    "read the commit's statuses": lambda client: client.commit_statuses("r", "c"),
    "post the commit's status": lambda client: client.create_commit_status("r", "c", A_STATUS),
    "read the pull request's statuses": lambda client: client.pull_request_statuses("r", 1),
    "post the pull request's status": lambda client: client.create_pull_request_status(
        "r", 1, 1, A_STATUS
    ),
    "read the pull request's comments": lambda client: client.first_comments("r", 1),
    "post the comment": lambda client: client.create_thread("r", 1, "x"),
    "edit the comment": lambda client: client.edit_comment("r", 1, 2, 3, "x"),
    "list the service hooks": lambda client: client.subscriptions(),
    "read the service hook": lambda client: client.subscription("s"),
    "create the service hook": lambda client: client.create_subscription(A_HOOK),
    "change the service hook": lambda client: client.replace_subscription("s", A_HOOK),
    "remove the service hook": lambda client: client.remove_subscription("s"),
    "test the service hook": lambda client: client.send_test("s"),
    "read the service hook's history": lambda client: client.notification("s", "1"),
    "read what the token's owner may do": lambda client: client.has_permissions("n", 1, ["t"]),
}


@pytest.mark.parametrize("purpose", CALLS)
def test_azure_devops_own_refusal_is_named_with_what_the_request_was_for(purpose: str) -> None:
    body = error_body(f"TF401234: {TOKEN} {CANARY}", "InvalidArgumentValueException")
    error = of_call(CALLS[purpose], 400, body)
    assert error.problem == Problem.REFUSED
    names = "TF401234, InvalidArgumentValueException"
    assert error.cause == f"Azure DevOps refused to {purpose}: {names}."
    assert error.evidence == f"HTTP 400, {names}"
    assert "proxy" not in str(error)
    assert TOKEN not in str(error)
    assert CANARY not in str(error)


@pytest.mark.parametrize(
    ("status", "message", "type_key", "problem", "says"),
    [
        (400, "Odd.", "VssPropertyValidationException", Problem.REFUSED, "VssProp"),
        (405, "Odd.", "UnsupportedHttpMethodException", Problem.REFUSED, "UnsupportedHttp"),
        (
            409,
            "TF401028: It moved.",
            "GitReferenceStaleException",
            Problem.REFUSED,
            "TF401028, Git",
        ),
        (400, "Odd.", f"{TOKEN}", Problem.REFUSED, "refused to list the branches."),
        (400, "Odd.", f"{CANARY}Exception", Problem.REFUSED, "refused to list the branches."),
        (404, "Odd.", "RefNotFoundException", Problem.NOT_FOUND, "list the branches: RefNotFound"),
        (500, "TF400898: Odd.", "VssServiceException", Problem.UNAVAILABLE, "branches: TF400898"),
        (503, "TF10216: Odd.", "ServiceUnavailableException", Problem.UNAVAILABLE, "TF10216"),
        (400, "VS800075: Odd.", "ProjectDoesNotExistException", Problem.NOT_FOUND, "The project"),
        (404, "VS800075: Odd.", "ProjectDoesNotExistException", Problem.NOT_FOUND, "The project"),
        (404, "Odd.", "ProjectDoesNotExistWithNameException", Problem.NOT_FOUND, "The project"),
        (
            400,
            "TF401175:Odd.",
            "GitUnresolvableToCommitException",
            Problem.NOT_FOUND,
            "commit does",
        ),
        (
            404,
            "TF401175:Odd.",
            "GitUnresolvableToCommitException",
            Problem.NOT_FOUND,
            "commit does",
        ),
        (404, "TF401019: Odd.", "GitRepositoryNotFoundException", Problem.NOT_FOUND, "repository"),
        (401, "TF400813: Odd.", "UnauthorizedRequestException", Problem.TOKEN_REFUSED, "token"),
    ],
)
def test_what_azure_devops_says_itself_never_blames_a_proxy(
    status: int, message: str, type_key: str, problem: Problem, says: str
) -> None:
    error = of_call(CALLS["list the branches"], status, error_body(message, type_key))
    assert error.problem == problem
    assert says in str(error)
    assert "proxy" not in str(error)
    for secret in (TOKEN, CANARY, "Odd"):
        assert secret not in f"{error} {error.evidence}"


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (error_body("Odd.", "Exception"), "Exception"),
        (error_body("Odd.", "GitPullRequestCannotBeActivated"), "GitPullRequestCannotBeActivated"),
        ({"count": 1, "value": {"Message": "TF401234: Odd."}}, "TF401234"),
        ({"count": 1, "value": {"Message": "Odd."}}, ""),
        ({"ClassName": "System.Exception", "Message": "VS401234: Odd."}, "VS401234"),
        ({"typeKey": None, "message": "Odd."}, ""),
        ({"typeKey": "OuterException", "innerException": {"typeKey": "A"}}, "OuterException"),
        (
            {"innerException": error_body("TF1: TF200016", "InnerException")}
            | {"message": "Odd.", "typeKey": "OuterException"},
            "OuterException",
        ),
        (
            {"message": f"TF401234: {'Odd' * 9000}", "typeKey": "LateException"},
            "TF401234",
        ),
    ],
)
@pytest.mark.parametrize("status", [400, 405, 409, 410, 422])
def test_every_shape_of_error_that_azure_devops_has_is_its_own(
    body: dict[str, Any], names: str, status: int
) -> None:
    error = of_call(CALLS["list the branches"], status, body)
    assert error.problem == Problem.REFUSED
    appended = f": {names}" if names else ""
    assert error.cause == f"Azure DevOps refused to list the branches{appended}."
    assert "proxy" not in str(error)


def test_an_error_that_is_in_a_header_alone_is_azure_devops_own() -> None:
    header = {"X-TFS-ServiceError": quote("TF401234: Odd.")}
    error = of_call(CALLS["list the branches"], 400, "<html></html>", header)
    assert error.cause == "Azure DevOps refused to list the branches: TF401234."


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (403, error_body("TF400733: Blocked.", "RequestBlockedException"), Problem.THROTTLED),
        (403, {"message": "TF400733: Blocked."}, Problem.THROTTLED),
        (429, error_body("TF400733: Blocked.", "RequestBlockedException"), Problem.THROTTLED),
        (404, error_body("Gone.", "HostDoesNotExistException"), Problem.ORGANIZATION_UNKNOWN),
        (400, error_body("VS850015: Odd.", "XException"), Problem.ORGANIZATION_UNKNOWN),
        (503, error_body("It is stopping.", "HostShutdownException"), Problem.UNAVAILABLE),
        (400, error_body("It is stopping.", "HostShutdownException"), Problem.UNAVAILABLE),
        (503, error_body("Open.", "CircuitBreakerShortCircuitException"), Problem.UNAVAILABLE),
        (403, error_body("No.", "UnauthorizedAccessException"), Problem.PERMISSION_DENIED),
        (404, error_body("No.", "GitPullRequestNotFoundException"), Problem.NOT_FOUND),
        (404, error_body("No.", "GitCommitDoesNotExistException"), Problem.NOT_FOUND),
    ],
)
def test_errors_of_azure_devops_are_distinguished_by_its_codes(
    status: int, body: dict[str, Any], problem: Problem
) -> None:
    error = of_call(CALLS["list the branches"], status, body)
    assert error.problem == problem
    assert "proxy" not in str(error)


@pytest.mark.parametrize("purpose", CALLS)
def test_a_missing_permission_is_named_with_what_the_request_was_for(purpose: str) -> None:
    body = error_body("TF401027: Odd.", "GitNeedsPermissionException")
    error = of_call(CALLS[purpose], 403, body)
    assert error.problem == Problem.PERMISSION_DENIED
    assert error.evidence == "HTTP 403, TF401027, GitNeedsPermissionException"
    if "service hook" not in purpose:
        assert error.cause == f"The token's owner lacks a permission to {purpose}."


STOPPED = (
    "TF24668: The following team project collection is stopped: fabrikam. Start the collection and "
    "then try again. Administrator Reason: "
)
IDLE = "This organization was deactivated due to inactivity."


@pytest.mark.parametrize(
    ("status", "body", "headers", "organization", "says"),
    [
        (503, error_body(f"{STOPPED}{IDLE}", "HostShutdownException"), {}, ORGANIZATION, "nobody"),
        (503, f"<html>{STOPPED}{IDLE}</html>", {}, ORGANIZATION, "because nobody used it"),
        (
            503,
            "",
            {"X-TFS-ServiceError": quote(f"{STOPPED}{IDLE}")},
            ORGANIZATION,
            "nobody used it",
        ),
        (
            404,
            error_body(STOPPED, "HostShutdownException"),
            {},
            ORGANIZATION,
            "The organization is",
        ),
        (503, error_body(f"{STOPPED}abuse", "X"), {}, ORGANIZATION, "support says why"),
        (503, error_body(STOPPED, "X"), {}, "https://tfs.example.com/tfs/Main", "Start Collection"),
        (503, error_body(STOPPED, "X"), {}, "https://fabrikam.visualstudio.com", "reactivate it"),
        (400, error_body(f"{STOPPED}{IDLE}", "HostShutdownException"), {}, ORGANIZATION, "nobody"),
        (503, error_body(IDLE, "HostShutdownException"), {}, ORGANIZATION, "nobody used it"),
        (503, error_body(STOPPED[9:], "X"), {}, ORGANIZATION, "The organization is stopped"),
    ],
)
def test_a_stopped_organization_is_no_outage(
    status: int, body: dict[str, Any] | str, headers: dict[str, str], organization: str, says: str
) -> None:
    error = of_call(CALLS["list the repositories"], status, body, headers, organization)
    assert error.problem == Problem.ORGANIZATION_STOPPED
    assert not error.is_transient
    assert (error.retry_after or 0) >= 600
    assert says in str(error)
    assert "administrator" in error.fix
    assert "down or in trouble" not in str(error)
    assert "abuse" not in str(error)


def test_an_outage_of_a_server_of_ones_own_is_for_its_administrators() -> None:
    own = of_call(
        CALLS["list the repositories"], 503, "Unavailable", {}, "https://tfs.example.com/a"
    )
    assert (own.problem, own.is_transient) == (Problem.UNAVAILABLE, True)
    assert "administrators of the server" in own.fix
    assert "status.dev.azure.com" in of_call(CALLS["list the repositories"], 503, "").fix


OUT_OF_RANGE = (
    "The requested REST API version of 7.1 is out of range for this server. The latest REST API "
    "version this server supports is {}."
)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            error_body(OUT_OF_RANGE.format("4.1"), "VssVersionOutOfRangeException"),
            "dev.azure.com speaks REST API 4.1; Stackhook needs 5.0 or newer.",
        ),
        ({"message": OUT_OF_RANGE.format("3.2")}, "speaks REST API 3.2; Stackhook needs 5.0"),
        (
            error_body("Außerhalb des Bereichs.", "VssVersionOutOfRangeException"),
            "accepts none of the REST API versions that Stackhook speaks, 5.0 to 7.1.",
        ),
        (
            error_body("The -preview flag must be supplied.", "VssInvalidPreviewVersionException"),
            "accepts none of the REST API versions that Stackhook speaks, 5.0 to 7.1.",
        ),
        (
            {"message": "The latest REST API version supported by this server is 4.1"}
            | {"typeKey": "VssVersionNotSupportedException"},
            "speaks REST API 4.1; Stackhook needs 5.0",
        ),
        (
            {"message": "The version 7.1 was outside the valid version range for this route."},
            "accepts none of the REST API versions that Stackhook speaks, 5.0 to 7.1.",
        ),
    ],
)
@pytest.mark.parametrize("status", [400, 404, 406])
def test_a_server_that_is_too_old_is_named_with_both_versions(
    body: dict[str, Any], says: str, status: int
) -> None:
    error = of_call(CALLS["list the repositories"], status, body)
    assert (error.problem, error.is_transient) == (Problem.VERSION_REFUSED, False)
    assert says in error.cause
    assert "Upgrade" in error.fix
    assert "proxy" not in str(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "//evil.example/",
        "/fabrikam/_apis/git/repositories",
        "https://evil.example/_signin",
        "http://[",
        "\xff\xfe",
        "file:///etc/passwd",
        "",
    ],
)
def test_no_redirect_is_followed_wherever_it_leads(status: int, location: str) -> None:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as azure:
        azure.get(re.compile("."), status=status, headers={"Location": location})
        error = failure(ORGANIZATION)
        asked = [call.request.url for call in azure.calls]
    is_sign_in = "_signin" in location
    assert error.problem == (Problem.TOKEN_REFUSED if is_sign_in else Problem.NOT_THE_PROVIDER)
    assert all(str(url).startswith(f"{ORGANIZATION}/_apis/") for url in asked)
    assert len(asked) == (2 if is_sign_in else 1)


@pytest.mark.parametrize("status", [302, 307])
def test_the_token_never_reaches_the_host_of_a_redirect(azure: Emulator, status: int) -> None:
    with RawServer(http("200 OK", "Content-Type: application/json\r\n", b'{"value":[]}')) as other:
        location = f"Location: {other.url}/_apis/git/repositories\r\n"
        with RawServer(http(f"{status} Found", location)) as first:
            assert failure(first.url).problem == Problem.NOT_THE_PROVIDER
            assert len(first.requests) == 1
        azure.faults.add("redirect-elsewhere", location=other.url)
        assert failure(f"{azure.url}/fabrikam").problem == Problem.NOT_THE_PROVIDER
        assert other.connections == 0


@pytest.mark.parametrize(
    "status_line",
    ["200", "203", "302", "401", "403", "404", "418", "429", "500", "503"],
)
def test_what_an_answer_echoes_is_shown_to_nobody(
    status_line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that sends token and text back in every part of its answer."""
    caplog.set_level(logging.DEBUG, logger="vcs_integrations")
    echo = f"{TOKEN} {ENCODED_TOKEN} {CANARY}"
    names = ("Location", "Retry-After", "X-TFS-ServiceError", "WWW-Authenticate", "X-Other")
    headers = "".join(f"{name}: {echo}\r\n" for name in names)
    body = f'{{"message": "TF{CANARY} {echo}", "typeKey": "{echo}"}}'.encode()
    for kind in ("application/json", f"text/html; charset={CANARY}", f"text/{TOKEN}"):
        answer = http(f"{status_line} {echo}", f"{headers}Content-Type: {kind}\r\n", body)
        with RawServer(answer) as server:
            failure(server.url)
            assert ENCODED_TOKEN.encode() in server.requests[0]  # it had something to echo
    assert TOKEN not in caplog.text
    assert ENCODED_TOKEN not in caplog.text


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 mail.example ESMTP\r\n",
        b"\x15\x03\x01\x00\x02\x02F",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
    ids=["ssh", "smtp", "tls alert", "no status", "endless header"],
)
def test_what_is_not_http_is_not_azure_devops(answer: bytes) -> None:
    with RawServer(answer) as server:
        assert failure(server.url).problem == Problem.NOT_THE_PROVIDER


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["nothing", "half a body", "half a chunk", "bad chunk"],
)
def test_an_answer_that_breaks_off_is_a_cut_connection(answer: bytes) -> None:
    with RawServer(answer) as server:
        assert failure(server.url).problem == Problem.CONNECTION_CUT


def test_a_connection_that_is_reset_was_cut() -> None:
    def reset(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with RawServer(reset) as server:
        assert failure(server.url).problem == Problem.CONNECTION_CUT


def test_a_broken_compressed_answer_is_not_azure_devops() -> None:
    headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n"
    with RawServer(http("200 OK", headers, b"no gzip")) as server:
        assert failure(server.url).problem == Problem.NOT_THE_PROVIDER


# Before there is an answer


def test_a_name_that_is_not_resolved() -> None:
    error = failure("https://stackhook-test.invalid/fabrikam", INTERACTIVE)
    assert error.problem == Problem.NAME_NOT_RESOLVED
    assert "stackhook-test.invalid" in error.cause


def test_a_closed_port_refuses_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = failure(f"http://127.0.0.1:{port}/fabrikam")
    assert error.problem == Problem.CONNECTION_REFUSED
    assert f"127.0.0.1:{port}" in error.cause


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\n\r\n", None], ids=["403", "closed"])
def test_a_proxy_that_refuses_is_named(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    with RawServer(answer or b"") as server:
        monkeypatch.setenv(
            "HTTPS_PROXY", f"http://{server.host}" if answer else "http://127.0.0.1:9"
        )
        error = failure(ORGANIZATION)
        assert error.problem == Problem.CONNECTION_REFUSED
        assert "proxy" in error.cause
        assert not any(ENCODED_TOKEN.encode() in request for request in server.requests)


def test_tls_to_a_plain_port_fails(azure: Emulator) -> None:
    error = failure(f"{azure.url.replace('http:', 'https:')}/fabrikam")
    assert error.problem == Problem.TLS_FAILURE
    assert not azure.requests


def test_a_certificate_that_nobody_vouches_for_fails(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    with RawServer(http("200 OK"), tls=context) as server:
        error = failure(server.url)
        assert error.problem == Problem.TLS_FAILURE
        assert server.connections == 1
        assert not server.requests  # the token never left


def self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


# Time and size


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


@pytest.mark.parametrize(("fault", "seconds"), [("slow", 30), ("drip", 0.1)])
def test_an_answer_that_takes_too_long_ends_in_time(
    azure: Emulator, fault: str, seconds: float
) -> None:
    azure.faults.add(fault, seconds=seconds)
    with at_most(1.5):
        error = failure(f"{azure.url}/fabrikam", QUICK)
    assert error.problem == Problem.TIMEOUT


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
)
def test_a_drip_of_headers_or_chunks_ends_in_time(start: bytes) -> None:
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        while not ended.wait(0.05):
            connection.sendall(b"1" if start.endswith(b"X: ") else b"1\r\n \r\n")

    with RawServer(drip) as server:
        try:
            with at_most(1.5):
                assert failure(server.url, QUICK).problem == Problem.TIMEOUT
        finally:
            ended.set()


def test_all_calls_of_a_test_share_one_limit(azure: Emulator) -> None:
    """The second question, whose the token is, has only the time that is left."""
    azure.faults.add("scope-too-narrow", path="_apis/git")
    azure.faults.add("slow", path="connectionData", seconds=30)
    with at_most(1.5):
        assert failure(f"{azure.url}/fabrikam", QUICK).problem == Problem.TOKEN_REFUSED


def test_time_that_is_used_up_starts_no_call(azure: Emulator) -> None:
    client = AzureDevOpsClient(f"{azure.url}/fabrikam", TOKEN, CallLimits(5, 0.05, 0))
    time.sleep(0.1)
    with pytest.raises(ProviderError) as caught:
        client.connect()
    assert caught.value.problem == Problem.TIMEOUT
    assert not azure.requests


def test_a_huge_answer_is_not_read_to_its_end() -> None:
    sent = stream_for_ever("200 OK", "Content-Type: application/json\r\n", ENOUGH)
    assert sent < client_module.ANSWER_LIMIT + 2**24


def test_the_body_of_a_redirect_is_not_read_to_its_end() -> None:
    sent = stream_for_ever("302 Found", "Location: http://169.254.169.254/\r\n", ENOUGH)
    assert sent < client_module.ANSWER_LIMIT + 2**24


def stream_for_ever(status: str, headers: str, limits: CallLimits) -> int:
    """Return how many bytes an endless answer got rid of before the client hung up."""
    sent = 0

    def stream(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(f"HTTP/1.1 {status}\r\n{headers}\r\n".encode())
        while True:
            sent += connection.send(b" " * 2**18)

    with RawServer(stream) as server:
        assert failure(server.url, limits).problem == Problem.ANSWER_TOO_LARGE
        assert server.wait_until_idle()
    return sent


def test_a_small_answer_that_unpacks_to_a_huge_one_is_bounded() -> None:
    bomb = gzip.compress(b" " * (client_module.ANSWER_LIMIT + 2**20))
    headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n"
    with RawServer(http("200 OK", headers, bomb)) as server:
        assert failure(server.url).problem == Problem.ANSWER_TOO_LARGE


# Whatever comes


LATIN = st.characters(max_codepoint=255, exclude_categories=["Cc"])


@given(
    status=st.integers(100, 999),
    reason=st.text(LATIN, max_size=20),
    headers=st.dictionaries(
        st.sampled_from(
            [
                "Content-Type",
                "Location",
                "Retry-After",
                "Content-Encoding",
                "Set-Cookie",
                "X-TFS-ServiceError",
                "Transfer-Encoding",
                "Content-Length",
                "x-ms-continuationtoken",
            ]
        ),
        st.sampled_from(["application/json", "gzip", "chunked", "-1", "http://[", "a=b; c", "%ff"])
        | st.text(LATIN, max_size=20),
    ),
    body=st.binary(max_size=60) | st.just(b'{"value": []}'),
)
def test_no_answer_raises_anything_but_a_diagnosis(
    answers: "Answers", status: int, reason: str, headers: dict[str, str], body: bytes
) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    answers.next = f"HTTP/1.1 {status} {reason}\r\n{head}\r\n".encode("latin-1") + body
    with contextlib.suppress(ProviderError):
        AzureDevOpsClient(answers.url, TOKEN, QUICK).connect()


class Answers:
    """What a raw server says next."""

    url = ""
    next = b""


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    found = Answers()
    with RawServer(lambda connection: connection.sendall(found.next)) as server:
        found.url = server.url
        yield found


# The same on the pages


SET_UP = "/settings/vcs-providers/azure-devops/set-up/"


@pytest.mark.parametrize(
    ("fault", "field", "says"),
    [
        ("token-expired", "token", "has expired"),
        ("conditional-access", "token", "conditional access policy"),
        ("organization-unknown", "organization_url", "knows no such organization"),
        ("not-azure-devops", "organization_url", "did not return"),
        ("redirect-elsewhere", "organization_url", "redirects elsewhere"),
        ("wrong-shape", "organization_url", "did not return"),
        ("huge", "organization_url", "larger than 64 MB"),
        ("stopped", "organization_url", "The collection is stopped"),
    ],
)
def test_data_proved_wrong_is_not_stored_and_the_field_says_why(
    admin: Client, azure: Emulator, fault: str, field: str, says: str
) -> None:
    azure.faults.add(fault)
    response = admin.post(SET_UP, {"organization_url": f"{azure.url}/fabrikam", "token": TOKEN})
    assert says in response.context["form"].errors[field][0]
    (notification,) = map(str, get_messages(response.wsgi_request))
    assert notification.startswith("Connecting to Azure DevOps failed: ")
    assert says in notification
    assert not Integration.objects.exists()
    assert TOKEN not in response.content.decode()


@pytest.mark.parametrize("fault", ["token-invalid-401", "credentials-203", "credentials-302"])
def test_the_whole_cause_of_a_refused_token_is_in_the_notification_only(
    admin: Client, azure: Emulator, fault: str
) -> None:
    azure.faults.add(fault)
    response = admin.post(SET_UP, {"organization_url": f"{azure.url}/fabrikam", "token": TOKEN})
    assert list(map(str, get_messages(response.wsgi_request))) == [
        "Connecting to Azure DevOps failed: Azure DevOps refused the token: it is wrong, revoked, "
        "or made for another organization."
    ]
    (said,) = response.context["form"].errors["token"]
    assert said.startswith("Azure DevOps refused the token. Create a new token in Azure DevOps (")
    assert not Integration.objects.exists()
    assert TOKEN not in response.content.decode()


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("unavailable", Problem.UNAVAILABLE),
        ("throttled", Problem.THROTTLED),
        ("reset", Problem.CONNECTION_CUT),
    ],
)
def test_azure_devops_out_of_reach_is_stored_and_retried(
    admin: Client, azure: Emulator, fault: str, problem: Problem
) -> None:
    azure.faults.add(fault)
    response = admin.post(
        SET_UP, {"organization_url": f"{azure.url}/fabrikam", "token": TOKEN}, follow=True
    )
    created, warning = map(str, response.context["messages"])
    assert created == "New integration was created"
    assert re.fullmatch(r"Connecting to Azure DevOps failed: .*[^.], retrying", warning)
    integration = Integration.objects.get()
    assert integration.problem == problem
    assert integration.is_retrying
    assert integration.due_at is not None


def test_a_name_that_is_not_resolved_is_stored_and_retried(
    admin: Client, settings: Settings
) -> None:
    settings.AZURE_DEVOPS_SERVERS = ["https://stackhook-test.invalid"]
    url = "https://stackhook-test.invalid/fabrikam"
    admin.post(SET_UP, {"organization_url": url, "token": TOKEN})
    assert Integration.objects.get().problem == Problem.NAME_NOT_RESOLVED


def test_save_takes_six_seconds_at_most(admin: Client, azure: Emulator) -> None:
    azure.faults.add("drip", seconds=0.4)
    with at_most(7.5):
        admin.post(SET_UP, {"organization_url": f"{azure.url}/fabrikam", "token": TOKEN})
    assert Integration.objects.get().problem == Problem.TIMEOUT


@pytest.mark.parametrize(
    ("fault", "path", "problem"),
    [
        ("token-invalid-401", "", Problem.TOKEN_REFUSED),
        ("token-expired", "", Problem.TOKEN_EXPIRED),
        ("scope-too-narrow", "_apis/git", Problem.LACKS_CODE_ACCESS),
        ("conditional-access", "", Problem.SIGN_IN_POLICY),
        ("throttled", "", Problem.THROTTLED),
        ("unavailable", "", Problem.UNAVAILABLE),
        ("organization-unknown", "", Problem.ORGANIZATION_UNKNOWN),
        ("not-azure-devops", "", Problem.NOT_THE_PROVIDER),
        ("cut", "", Problem.CONNECTION_CUT),
    ],
)
def test_test_names_the_cause_and_its_fix_and_remembers_them(
    admin: Client, azure: Emulator, fault: str, path: str, problem: Problem
) -> None:
    admin.post(SET_UP, {"organization_url": f"{azure.url}/fabrikam", "token": TOKEN})
    integration = Integration.objects.get()
    azure.faults.add(fault, path=path)
    response = admin.post(f"/settings/vcs-providers/{integration.pk}/test/", follow=True)
    integration.refresh_from_db()
    assert integration.problem == problem
    assert integration.is_retrying == (problem in TRANSIENT)
    (notification,) = (str(m) for m in response.context["messages"] if "failed" in str(m))
    assert integration.problem_cause in notification
    assert integration.problem_fix in notification
    page = response.content.decode()
    assert TOKEN not in page

    azure.faults.clear()
    response = admin.post(f"/settings/vcs-providers/{integration.pk}/test/", follow=True)
    assert "Connecting to Azure DevOps succeeded" in map(str, response.context["messages"])
    integration.refresh_from_db()
    assert not integration.problem
