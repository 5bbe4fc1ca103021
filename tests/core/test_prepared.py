"""Queries that are built once, and give what Django's own would, whatever is given."""

from datetime import timedelta

import pytest
from django.db.models import BigIntegerField, CharField, DateTimeField
from django.utils import timezone

from core.prepared import Given, Prepared
from stacks.models import Stack
from tests.builders import make_integration, make_stack
from tests.emulator.model import Organization

built = 0


@pytest.fixture
def made(organization: Organization, token: str, db: None) -> list[Stack]:
    integration = make_integration(organization.url, token)
    return [make_stack(integration, name) for name in ("Network", "Database", "Queue")]


def build() -> "object":
    global built
    built += 1
    return Stack.objects.filter(
        repository_id=Given("repository", BigIntegerField()),
        name__in=[Given("name", CharField()), "Queue"],
        created_at__lte=Given("now", DateTimeField()),
    )


def test_they_give_what_the_database_has_for_the_values(made: list[Stack]) -> None:
    query: Prepared[Stack] = Prepared(build)  # type: ignore[arg-type]
    now, repository = timezone.now(), made[0].repository_id
    found = query.objects(repository=repository, name="Network", now=now)
    assert found == [made[0], made[2]]
    assert found[0].created_at == made[0].created_at
    assert query.objects(repository=repository, name="Database", now=now) == [made[1], made[2]]
    hour_ago = now - timedelta(hours=1)
    assert query.objects(repository=repository, name="Network", now=hour_ago) == []
    assert query.objects(repository=repository + 1, name="Network", now=now) == []
    assert built == 1


def test_values_are_parameters_and_never_a_part_of_the_statement(made: list[Stack]) -> None:
    rows = Prepared(lambda: Stack.objects.filter(name=Given("name", CharField())).values_list("pk"))
    assert rows.rows(name="x' OR '1'='1") == rows.rows(name="%s") == []
    assert rows.rows(name="Network") == [(made[0].pk,)]


def test_one_that_is_not_given_is_an_error(made: list[Stack]) -> None:
    query = Prepared(lambda: Stack.objects.filter(name=Given("name", CharField())))
    with pytest.raises(KeyError):
        query.objects()
