"""Queries that are built once: for what runs all the time, building takes longer than running."""

from collections.abc import Callable
from functools import cache
from typing import Any, Generic, TypeVar

from django.db import connection, models
from django.db.models.expressions import Expression

M = TypeVar("M", bound=models.Model)


class Given(Expression):
    """A value in a prepared query that is given each time it runs.

    The field says how the database stores the value; for a foreign key it is that of the key.
    """

    def __init__(self, name: str, field: "models.Field[Any, Any]") -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: object, connection: object) -> tuple[str, tuple[Any, ...]]:
        return "%s", (self,)

    def prepare(self, value: object) -> Any:
        """Return a value as the database's driver wants it."""
        return self.output_field.get_db_prep_value(value, connection)


class Prepared(Generic[M]):
    """A query whose SQL Django makes when it first runs, for each kind of database.

    `build` returns it, with a `Given` wherever a value differs from time to time.
    """

    def __init__(self, build: Callable[[], "models.QuerySet[M, Any]"]) -> None:
        self._build = cache(build)
        self._made: dict[str, tuple[str, tuple[Any, ...]]] = {}

    def rows(self, **given: object) -> list[tuple[Any, ...]]:
        """Run it with the named values; return rows as the driver does, dates as it may be text."""
        with connection.cursor() as cursor:
            cursor.execute(*self._statement(given))
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def objects(self, **given: object) -> list[M]:
        """Run it with the named values; return instances, for which it selects nothing else."""
        return list(self._build().model._default_manager.raw(*self._statement(given)))

    def _statement(self, given: dict[str, object]) -> tuple[str, list[Any]]:
        if connection.vendor not in self._made:
            self._made[connection.vendor] = self._build().query.sql_with_params()
        sql, parameters = self._made[connection.vendor]
        return sql, [
            one.prepare(given[one.name]) if isinstance(one, Given) else one for one in parameters
        ]
