"""Aggregates: measures over groups of rows, as one statement."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import and_, func, select
from sqlalchemy.sql import ClauseElement, Select
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import FromClause

from src.core.tables import Kind, TableInfo
from src.db.queries.documents import DocumentKey, Seen, TargetShape, WholeKey
from src.db.queries.filters import ConditionShape, collect_values, passing, shape_of
from src.db.queries.measures import FUNCTIONS, UTC_NAME, Bucket
from src.db.queries.query import Aggregation, GroupOrder, names_of
from src.db.queries.rendering import SOURCE, ComposedRow, Member
from src.db.queries.statement import Dialect, Form, Parameters, sql_table

# What the second column of a group inside documents is called: its number, where it is one.
NUMBER = "_number"


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
        yield from collect_values(asked.filters)
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
        rows = passing(select(), self.table, self.filters, parameters)
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
                columns.append(value.label(f"m{index}"))
        return rows.add_columns(*columns or [source.c[self.table.key]]).subquery("inputs")

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


def _whole_key(page: FromClause, column: ColumnElement[Any]) -> ColumnElement[Any]:
    number = page.c.get(f"{column.key}{NUMBER}")
    return column if number is None else WholeKey(column, number)
