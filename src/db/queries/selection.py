"""What a row has when it is answered: all of its columns, or chosen members and related rows, in one statement."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Select, select
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import FromClause

from src.core.tables import Kind, Reach, Relation, SortTerm, TableInfo
from src.db.queries import filters
from src.db.queries.documents import Seen, TargetShape
from src.db.queries.filters import ConditionShape, own_rows, passing
from src.db.queries.paging import Walk
from src.db.queries.query import EVERYTHING, Expansion, Selection
from src.db.queries.rendering import SOURCE, ComposedRow, ListJson, Member, Outer, RowJson
from src.db.queries.statement import Form, Parameters, sql_table


class ExpansionShape(NamedTuple):
    """Related rows without their number."""

    relation: Relation
    selection: "SelectionShape"
    sort: tuple[SortTerm, ...]
    filters: tuple[ConditionShape, ...]

    def build(self, outer: str, name: str, parameters: Parameters) -> Member:
        """Build the member of a row of the source called `outer`; `name` is for the source of the related rows."""
        relation = self.relation
        source = sql_table(relation.table)
        related = select(source).where(source.c[relation.other_column] == Outer(outer, relation.column))
        related = passing(related, relation.table, self.filters, parameters)
        if not relation.is_list:
            row = self.selection.render(related, relation.table, parameters, name)
            return Member(relation.name, row.scalar_subquery(), Kind.JSON)
        rows = Walk(relation.table, self.sort).first_page(related, parameters.take(Kind.INTEGER))
        rendered = self.selection.render(rows, relation.table, parameters, name).subquery(f"{name}_json")
        listed = select(ListJson(*rendered.c)).select_from(rendered)
        return Member(relation.name, listed.scalar_subquery(), Kind.JSON)


class SelectionShape(NamedTuple):
    """A selection without its values."""

    fields: tuple[TargetShape, ...]
    expansions: tuple[ExpansionShape, ...]

    def render(self, rows: Select[Any], table: TableInfo, parameters: Parameters, name: str = SOURCE) -> Select[Any]:
        """Select the JSON text of each of `rows`, in their order; `name` is for their source."""
        page = rows.subquery(name)
        return select(self._row(page, table, parameters, name)).select_from(page)

    def render_with_place(
        self, rows: Select[Any], table: TableInfo, parameters: Parameters, sort: tuple[SortTerm, ...]
    ) -> Select[Any]:
        """Select each row's JSON text and, where it may lack sort columns, an object of these beside it."""
        if not self.fields:
            return self.render(rows, table, parameters)
        page = rows.subquery(SOURCE)
        row = self._row(page, table, parameters, SOURCE)
        names = (term.column for term in sort)
        place = ComposedRow(Member(name, page.c[name], table.by_name[name].kind) for name in names)
        columns: tuple[ColumnElement[Any], ...] = (row, place)
        return select(*columns).select_from(page)

    def _row(self, page: FromClause, table: TableInfo, parameters: Parameters, name: str) -> ColumnElement[str]:
        if self == WHOLE_ROW:
            return RowJson(name, table.columns)
        return ComposedRow(self._members(page, table, parameters, name))

    def _members(self, page: FromClause, table: TableInfo, parameters: Parameters, name: str) -> Iterator[Member]:
        for field in self.fields or tuple(TargetShape(column, False, ()) for column in table.by_name):
            label = parameters.take(Kind.TEXT, Form.NAME) if field.is_inside else field.column
            (value,) = field.build(page, parameters, Seen.PIECE)
            yield Member(label, value, table.by_name[field.column].kind)
        for number, expansion in enumerate(self.expansions):
            yield expansion.build(name, f"{name}{number}", parameters)


WHOLE_ROW = SelectionShape((), ())


def shape_of(selection: Selection, person: str | None) -> SelectionShape:
    """What decides the SQL of a selection; of related rows those of the person, of everybody without one."""
    if selection is EVERYTHING or selection == EVERYTHING:
        return WHOLE_ROW
    return SelectionShape(
        tuple(TargetShape.of(field.target) for field in selection.fields),
        tuple(
            ExpansionShape(
                each.relation,
                shape_of(each.selection, person),
                each.sort,
                tuple(map(filters.shape_of, own_rows(Reach(each.relation.table, person)))),
            )
            for each in selection.expansions
        ),
    )


def values_of(selection: Selection, person: str | None) -> Iterator[object]:
    """Yield the values of a selection, in the order in which its shape takes their placeholders."""
    for field in selection.fields:
        if field.target.path:
            yield field.name
            yield field.target.path
    for expansion in selection.expansions:
        yield from filters.collect_values(own_rows(Reach(expansion.relation.table, person)))
        yield from _values_of_expansion(expansion, person)


def _values_of_expansion(expansion: Expansion, person: str | None) -> Iterator[object]:
    if expansion.relation.is_list:
        yield expansion.size
    yield from values_of(expansion.selection, person)
