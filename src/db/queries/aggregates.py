"""Aggregates: measures over groups of rows. A new function or piece of time is one line in its table."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Double, and_, cast, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement, Select
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import FromClause, FunctionElement
from sqlalchemy.types import NullType

from src.core.tables import Kind, TableInfo
from src.db.queries.documents import Seen, TargetShape
from src.db.queries.filters import ConditionShape, shape_of, values_of
from src.db.queries.query import Aggregation, GroupOrder, names_of
from src.db.queries.rendering import SOURCE, ComposedRow, Member
from src.db.queries.statement import Dialect, Form, Parameters, sql_table

UTC_NAME = "UTC"
NUMBERS = frozenset({Kind.INTEGER, Kind.DOUBLE, Kind.NUMERIC})
# PostgreSQL has no least boolean, and before its version 18 no least UUID.
ORDERED = NUMBERS | {Kind.TEXT, Kind.TIMESTAMP, Kind.LOCAL_TIMESTAMP, Kind.DATE}

# Per piece of time: where SQLite finds its beginning in the text of an instant of UTC.
BUCKETS: dict[str, str] = {
    "minute": "substr({0}, 1, 16) || ':00+00:00'",
    "hour": "substr({0}, 1, 13) || ':00:00+00:00'",
    "day": "substr({0}, 1, 10) || 'T00:00:00+00:00'",
    "week": "date(substr({0}, 1, 10), 'weekday 0', '-6 days') || 'T00:00:00+00:00'",
    "month": "substr({0}, 1, 7) || '-01T00:00:00+00:00'",
}
# What the SQLite engine calls the function that knows time zones.
BUCKET_FUNCTION = "time_bucket"


# What the second column of a group inside documents is called: its number, where it is one.
NUMBER = "_number"


class Bucket(FunctionElement[Any]):
    """The instant at which the minute, hour, day, week (from Monday) or month of an instant began in a time zone."""

    inherit_cache = False
    type = NullType()

    def __init__(self, instant: ColumnElement[Any], zone: ColumnElement[Any] | None, unit: str) -> None:
        self.unit = unit
        super().__init__(instant, *([] if zone is None else [zone]))


@compiles(Bucket, "postgresql")
def _bucket_on_postgresql(element: Bucket, compiler: SQLCompiler, **kw: Any) -> str:
    instant, *zone = (compiler.process(part, **kw) for part in element.clauses)
    return f"date_trunc('{element.unit}', {instant}, {zone[0] if zone else repr(UTC_NAME)})"


@compiles(Bucket, "sqlite")
def _bucket_on_sqlite(element: Bucket, compiler: SQLCompiler, **kw: Any) -> str:
    instant, *zone = (compiler.process(part, **kw) for part in element.clauses)
    if not zone:
        return f"({BUCKETS[element.unit].format(instant)})"
    return f"{BUCKET_FUNCTION}(substr({instant}, 1, 16), '{element.unit}', {zone[0]})"


class Function(NamedTuple):
    """An aggregate function."""

    build: Callable[[ColumnElement[Any], Kind], ColumnElement[Any]]
    kinds: frozenset[Kind]
    """The kinds of columns that it takes."""
    result: Callable[[Kind], Kind]
    """From the kind of its column to the kind of its result."""


def _sum(column: ColumnElement[Any], kind: Kind) -> ColumnElement[Any]:
    # PostgreSQL's sum of integers knows no bound; past 64 bits both refuse.
    return cast(func.sum(column), BigInteger()) if kind is Kind.INTEGER else func.sum(column)


def _avg(column: ColumnElement[Any], kind: Kind) -> ColumnElement[Any]:
    if kind is Kind.INTEGER:
        # The nearest double, where PostgreSQL's own average of integers has 16 digits.
        return cast(_sum(column, kind), Double()) / func.count(column)
    return cast(func.avg(column), Double())


FUNCTIONS: dict[str, Function] = {
    "count": Function(lambda column, _: func.count(column), frozenset(Kind), lambda _: Kind.INTEGER),
    "sum": Function(_sum, NUMBERS, lambda kind: kind),
    "avg": Function(_avg, NUMBERS, lambda _: Kind.DOUBLE),
    "min": Function(lambda column, _: func.min(column), ORDERED, lambda kind: kind),
    "max": Function(lambda column, _: func.max(column), ORDERED, lambda kind: kind),
}


class GroupShape(NamedTuple):
    """A group without its name and its path."""

    target: TargetShape
    bucket: str


class MeasureShape(NamedTuple):
    """A measure without its name and its path."""

    function: str
    target: TargetShape | None


@dataclass(frozen=True, slots=True)
class AggregateShape:
    """Measures by groups, one page or all of them."""

    table: TableInfo
    filters: tuple[ConditionShape, ...]
    groups: tuple[GroupShape, ...]
    measures: tuple[MeasureShape, ...]
    sort: tuple[GroupOrder, ...]
    is_utc: bool
    is_whole: bool

    @classmethod
    def of(cls, table: TableInfo, asked: Aggregation, *, is_whole: bool) -> "AggregateShape":
        """What decides the SQL of an aggregation."""
        return cls(
            table=table,
            filters=tuple(map(shape_of, asked.filters)),
            groups=tuple(GroupShape(TargetShape.of(group.target), group.bucket) for group in asked.groups),
            measures=tuple(
                MeasureShape(measure.function, measure.target and TargetShape.of(measure.target))
                for measure in asked.measures
            ),
            sort=asked.sort,
            is_utc=asked.time_zone == UTC_NAME,
            is_whole=is_whole,
        )

    def values_of(self, asked: Aggregation) -> Iterator[object]:
        """Yield the values of an aggregation of this shape."""
        for condition in asked.filters:
            yield from values_of(condition)
        if not self.is_utc:
            yield asked.time_zone
        for target in (*(group.target for group in asked.groups), *(measure.target for measure in asked.measures)):
            if target and target.path:
                yield target.path
        if not self.is_whole:
            yield from (asked.size + 1, asked.offset)
        yield from names_of(asked.groups, asked.measures)

    def build(self, dialect: Dialect, parameters: Parameters) -> ClauseElement:
        groups = self._measured(self._inputs(parameters))
        if not self.is_whole:
            groups = groups.limit(parameters.take(Kind.INTEGER)).offset(parameters.take(Kind.INTEGER))
        page = groups.subquery(SOURCE)
        values = (_whole_key(page, column) for column in page.c if not column.name.endswith(NUMBER))
        members = (
            Member(parameters.take(Kind.TEXT, Form.NAME), value, kind)
            for value, kind in zip(values, self.kinds(), strict=True)
        )
        return select(ComposedRow(members)).select_from(page)

    def kinds(self) -> Iterator[Kind]:
        """Yield what the members of an answer hold: the groups, then the measures."""
        for group in self.groups:
            yield Kind.JSON if group.target.is_inside else self.table.by_name[group.target.column].kind
        for measure in self.measures:
            yield FUNCTIONS[measure.function].result(self._kind(measure))

    def _kind(self, measure: MeasureShape) -> Kind:
        if measure.target is None:
            return Kind.INTEGER
        return Kind.DOUBLE if measure.target.is_inside else self.table.by_name[measure.target.column].kind

    def _inputs(self, parameters: Parameters) -> FromClause:
        """Per row that passes every filter what its group is (`g0`, ...) and what is measured of it (`m0`, ...)."""
        source = sql_table(self.table)
        conditions = [condition.build(source, parameters) for condition in self.filters]
        zone = None if self.is_utc else parameters.take(Kind.TEXT)
        columns: list[ColumnElement[Any]] = []
        for index, group in enumerate(self.groups):
            value, *number = group.target.build(source, parameters, Seen.PIECE, Seen.NUMBER)
            if group.bucket:
                value = Bucket(value, zone, group.bucket)
            # Numbers inside documents are equal as numbers, and ordered as such before all else.
            columns.append((DocumentKey(value, *number) if number else value).label(f"g{index}"))
            columns += [each.label(f"g{index}{NUMBER}") for each in number]
        for index, measure in enumerate(self.measures):
            if measure.target:
                seen = Seen.SCALAR if measure.function == "count" else Seen.NUMBER
                (value,) = measure.target.build(source, parameters, seen)
                columns.append(self._as_double(value, measure).label(f"m{index}"))
        return select(*columns or [sql_table(self.table).c[self.table.key]]).where(*conditions).subquery("inputs")

    @staticmethod
    def _as_double(value: ColumnElement[Any], measure: MeasureShape) -> ColumnElement[Any]:
        """SQLite would add up the integers among the numbers of documents as integers."""
        is_number_inside = measure.target is not None and measure.target.is_inside and measure.function != "count"
        return cast(value, Double()) if is_number_inside else value

    def _measured(self, inputs: FromClause) -> Select[Any]:
        keys = [column for column in inputs.c if column.name.startswith("g")] if self.groups else []
        measures = [
            FUNCTIONS[measure.function].build(inputs.c[f"m{index}"], self._kind(measure)).label(f"m{index}")
            if measure.target
            else func.count().label(f"m{index}")
            for index, measure in enumerate(self.measures)
        ]
        grouped = select(*keys, *measures).select_from(inputs).group_by(*keys)
        return grouped.order_by(*self._order_by(inputs, measures))

    def _order_by(self, inputs: FromClause, measures: list[Any]) -> Iterator[ColumnElement[Any]]:
        for term in self.sort:
            position = term.position - len(self.groups)
            column = measures[position].element if position >= 0 else inputs.c[f"g{term.position}"]
            number = inputs.c.get(f"g{term.position}{NUMBER}") if position < 0 else None
            is_null = column.is_(None) if number is None else and_(column.is_(None), number.is_(None))
            has_nulls_last = term.is_descending == term.nulls_are_smallest
            yield is_null if has_nulls_last else is_null.desc()
            if number is not None:
                yield number.desc().nulls_first() if term.is_descending else number.asc().nulls_last()
            yield column.desc() if term.is_descending else column.asc()


class DocumentKey(FunctionElement[Any]):
    """A piece of JSON as text that rows can be grouped by; null for JSON's null, and for a number."""

    inherit_cache = False
    type = NullType()


@compiles(DocumentKey, "postgresql")
def _key_on_postgresql(element: DocumentKey, compiler: SQLCompiler, **kw: Any) -> str:
    piece, number = (compiler.process(part, **kw) for part in element.clauses)
    return f"(CASE WHEN {number} IS NULL THEN NULLIF(CAST({piece} AS text), 'null') END COLLATE \"C\")"


@compiles(DocumentKey, "sqlite")
def _key_on_sqlite(element: DocumentKey, compiler: SQLCompiler, **kw: Any) -> str:
    piece, number = (compiler.process(part, **kw) for part in element.clauses)
    return f"(CASE WHEN {number} IS NULL THEN NULLIF({piece}, 'null') END)"


class WholeKey(FunctionElement[Any]):
    """A piece of JSON and the number that stood in its place, as one piece of JSON again."""

    inherit_cache = False
    type = NullType()


@compiles(WholeKey, "postgresql")
def _whole_on_postgresql(element: WholeKey, compiler: SQLCompiler, **kw: Any) -> str:
    piece, number = (compiler.process(part, **kw) for part in element.clauses)
    return f"coalesce({piece}, CAST(to_json({number}) AS text))"


@compiles(WholeKey, "sqlite")
def _whole_on_sqlite(element: WholeKey, compiler: SQLCompiler, **kw: Any) -> str:
    piece, number = (compiler.process(part, **kw) for part in element.clauses)
    return f"coalesce({piece}, json_quote({number}))"


def _whole_key(page: FromClause, column: ColumnElement[Any]) -> ColumnElement[Any]:
    number = page.c.get(f"{column.key}{NUMBER}")
    return column if number is None else WholeKey(column, number)
