"""What a generated module says of its table: the three models, and what a model cannot say."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from src.core.tables import ColumnInfo, Delivery, ForeignKey, Kind, SortTerm, TableInfo
from src.core.types import ReadModel, WriteModel, kind_of


@dataclass(frozen=True, eq=False)
class TableModels:
    """One table as the API serves it. The arguments are written by `python -m scripts.generate_models`."""

    table: str
    key: str
    """The primary key's column."""
    read: type[ReadModel]
    create: type[WriteModel]
    update: type[WriteModel]
    foreign_keys: tuple[ForeignKey, ...] = ()
    server_columns: tuple[str, ...] = ()
    """Columns that the server sets; they may stand in a body and are ignored there."""
    database_defaults: tuple[str, ...] = ()
    """Columns that the database fills when a body leaves them out (a sequence, an expression)."""
    sort: str = ""
    """The order of a list without `sort`, for example `-ts`; empty means by key."""
    owner: str = ""
    """The column with the user id of the person whom a row belongs to; the generator does not know it."""
    delivery: Delivery | None = None
    """What devices say of rows that they deliver; the generator does not know it."""

    @cached_property
    def info(self) -> TableInfo:
        """The table as plain data, for the layers that know no models."""
        return TableInfo(
            name=self.table,
            key=self.key,
            columns=tuple(
                ColumnInfo(field.alias or name, kind_of(field.rebuild_annotation()), is_nullable=_takes_none(field))
                for name, field in self.read.model_fields.items()
            ),
            foreign_keys=self.foreign_keys,
            server_columns=self.server_columns,
            database_defaults=self.database_defaults,
            default_sort=tuple(
                SortTerm(term.removeprefix("-"), is_descending=term.startswith("-"))
                for term in self.sort.split(",")
                if term
            ),
            owner=self.owner,
        )

    def seen_as(self, owner: str, delivery: Delivery | None, hidden: tuple[str, ...]) -> "TableModels":
        """The same table for those who do not know of some columns."""
        return replace(
            self,
            owner=owner,
            delivery=delivery,
            read=_without(self.read, ReadModel, hidden),
            create=_without(self.create, WriteModel, hidden),
            update=_without(self.update, WriteModel, hidden),
            foreign_keys=tuple(key for key in self.foreign_keys if key.column not in hidden),
            server_columns=tuple(name for name in self.server_columns if name not in hidden),
            database_defaults=tuple(name for name in self.database_defaults if name not in hidden),
        )

    @cached_property
    def has_decimals(self) -> bool:
        """Whether a column keeps digits that a double would lose."""
        return any(column.kind is Kind.NUMERIC for column in self.info.columns)

    @cached_property
    def has_plain_names(self) -> bool:
        """Whether every field of the models is called as its column."""
        return all(field.alias is None for field in self.read.model_fields.values())

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The columns that every new row must bring."""
        return tuple(field.alias or name for name, field in self.create.model_fields.items() if field.is_required())

    @cached_property
    def patch(self) -> type[WriteModel]:
        """What a client may send to change some columns: the update model without the key; each may be left out."""
        fields: dict[str, Any] = {}
        for name, field in self.update.model_fields.items():
            if (field.alias or name) == self.key:
                continue
            optional = copy(field)
            # Not a default, which the schema would show for members that cannot be null.
            optional.default_factory = _nothing
            optional.default = PydanticUndefined
            annotation: Any = field.annotation
            if not field.is_required() and not _takes_none(field):
                # Null stands for the column's default.
                annotation, optional.metadata = field.rebuild_annotation() | None, []
            fields[name] = (annotation, optional)
        doc = f"What a client sends to change a row of `{self.table}`: what it leaves out stays."
        return create_model(
            f"{self.read.__name__}Patch", __base__=WriteModel, __doc__=doc, __module__=self.update.__module__, **fields
        )

    @cached_property
    def defaults(self) -> Mapping[str, object]:
        """What a column becomes that a replacing body leaves out, or a patch deletes, where that is not null."""
        return {
            field.alias or name: field.default
            for name, field in self.update.model_fields.items()
            if field.default not in (None, PydanticUndefined)
        }

    @cached_property
    def columns_by_field(self) -> Mapping[str, str]:
        """The column behind each field of the models: its alias where the name could not be a Python name."""
        return {name: field.alias or name for name, field in self.read.model_fields.items()}


Model = TypeVar("Model", bound=BaseModel)


def _without(model: type[Model], base: type[Model], hidden: tuple[str, ...]) -> type[Model]:
    """The model without the fields of some columns."""
    fields: dict[str, Any] = {
        name: (field.annotation, copy(field))
        for name, field in model.model_fields.items()
        if (field.alias or name) not in hidden
    }
    if len(fields) == len(model.model_fields):
        return model
    return create_model(model.__name__, __base__=base, __doc__=model.__doc__, __module__=model.__module__, **fields)


def _nothing() -> None:
    return None


def _takes_none(field: FieldInfo) -> bool:
    return type(None) in getattr(field.annotation, "__args__", ())
