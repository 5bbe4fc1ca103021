"""Ask the host for what git asks for, with the token, and stream its answer.

The request is our own: its address is that of a known repository, and each header one of
ours. Of the answer nothing is passed on but the bytes of a good one.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import requests
import urllib3

from stacks.execution.git_proxy.asking import ASKED_TYPE, Asked, Refusal

CONNECT_SECONDS = 20
# A host may think this long before it sends, or between two parts.
SILENT_SECONDS = 120
LONGEST_SECONDS = 1800
PART = 64 * 1024
REFS_TYPE = "application/x-git-upload-pack-advertisement"
OBJECTS_TYPE = "application/x-git-upload-pack-result"
# What the host's answers mean, and the status for git, which would ask for a password on a 401.
REFUSALS = {
    401: (403, "The host refuses Stackhook's token. Ask an admin of Stackhook to test it."),
    403: (403, "The token's owner lacks Read on this repository. Ask its admins to grant it."),
    404: (404, "The host has no such repository, or the token's owner lacks Read on it."),
    429: (429, "The host limits Stackhook's calls. Retry the run later."),
}


class _Session(requests.Session):
    """A session that treats no answer as a redirect: even if told not to, it would read it."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


@dataclass(frozen=True)
class _Proof(requests.auth.AuthBase):
    """The header that proves the token; as one of the session's, a .netrc would replace it."""

    header: str

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        name, _, value = self.header.partition(": ")
        request.headers[name] = value
        return request


@contextmanager
def answered(asked: Asked, address: str, header: str, most: int) -> Iterator[Iterator[bytes]]:
    """Yield the parts of the host's answer about a repository.

    `address` is where the repository is cloned from, `header` proves the token, `most` is how many
    bytes the answer may have. Raises Refusal, also while the parts are read.
    """
    is_refs = asked.body is None
    headers = {
        "Accept": REFS_TYPE if is_refs else OBJECTS_TYPE,
        "Accept-Encoding": "identity",
        "User-Agent": "git/2 (Stackhook)",
    }
    if asked.protocol:
        headers["Git-Protocol"] = asked.protocol
    if not is_refs:
        headers["Content-Type"] = ASKED_TYPE
    if asked.is_gzip:
        headers["Content-Encoding"] = "gzip"
    try:
        with (
            _Session() as session,
            closing(
                session.request(
                    "GET" if is_refs else "POST",
                    f"{address}/info/refs" if is_refs else f"{address}/git-upload-pack",
                    params={"service": "git-upload-pack"} if is_refs else None,
                    headers=headers,
                    data=asked.body,
                    auth=_Proof(header),
                    timeout=(CONNECT_SECONDS, SILENT_SECONDS),
                    allow_redirects=False,
                    stream=True,
                )
            ) as response,
        ):
            _check(response, REFS_TYPE if is_refs else OBJECTS_TYPE)
            yield _parts(response, most)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise Refusal(502, f"The host did not answer ({type(error).__name__}).") from error


def _check(response: requests.Response, expected: str) -> None:
    """Raise Refusal unless an answer is one to git."""
    if response.status_code != 200:
        unknown = (502, f"The host answered HTTP {response.status_code}.")
        raise Refusal(*REFUSALS.get(response.status_code, unknown))
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != expected or response.headers.get("Content-Encoding", "identity") != "identity":
        raise Refusal(502, "The host answered with something else than git's protocol.")


def _parts(response: requests.Response, most: int) -> Iterator[bytes]:
    ends_at = time.monotonic() + LONGEST_SECONDS
    sent = 0
    for part in response.raw.stream(PART, decode_content=False):
        sent += len(part)
        if sent > most:
            raise Refusal(413, "The repository is larger than a run's disk.")
        if time.monotonic() > ends_at:
            raise Refusal(504, f"It took more than {LONGEST_SECONDS // 60} minutes.")
        yield part
