"""Ending a worker at a point of its work, and the provider being away."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.db import connection

from vcs_integrations.providers.azure_devops import deadlines
from vcs_integrations.providers.base import Problem, ProviderError


class Killed(BaseException):
    """A worker ends at once, whatever it is doing."""


@contextmanager
def killed_at(number: int | None, *, also_after_calls: bool = False) -> Iterator[None]:
    """End what runs inside before its query or call to the provider of that number.

    With `also_after_calls` the end of a call counts, too: it arrived, and nobody noted that.
    """
    left = -1 if number is None else number

    def count() -> None:
        nonlocal left
        left -= 1
        if left == -1:
            raise Killed

    def query(execute: Callable[..., Any], *arguments: Any) -> Any:
        count()
        return execute(*arguments)

    def call(*arguments: Any) -> Any:
        count()
        answer = really_call(*arguments)
        if also_after_calls:
            count()
        return answer

    really_call = deadlines.within
    with connection.execute_wrapper(query), mock.patch.object(deadlines, "within", call):
        try:
            yield
        except Killed:
            return


@contextmanager
def away() -> Iterator[None]:
    """Let every call to the provider fail at once, as while it is down."""

    def call(*arguments: Any) -> Any:
        raise ProviderError(Problem.UNAVAILABLE, "It is down.", "Wait.")

    with mock.patch.object(deadlines, "within", call):
        yield
