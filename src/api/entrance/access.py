"""What each caller sees of the tables, and may do with them: policies made into tables with fewer columns and rows.

    create_crud_router(owner=...) ─▶ Policy ─▶ Policies.sight(role, scopes) ─▶ Principal.access(table, action) ─▶ Reach

A `Reach` is the only thing that statements are built for (`src/db/queries/builder.py`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, NoReturn

from src.api.dependencies import MODEL_MAP, relations_of
from src.core.access import ADMIN_SCOPE, METRICS_SCOPE, NOTHING, Action, Permission, Policy, Role
from src.core.errors import Forbidden, Unauthenticated
from src.core.models import TableModels
from src.core.tables import Reach, Relation, TableInfo

# Services with other scopes than all before are compiled anew; operators choose them, and there are few.
CACHED_SIGHTS = 256


class Grant(NamedTuple):
    """A table as a kind of caller sees it, and what they may do with it."""

    models: TableModels
    permission: Permission


Sight = Mapping[str, Grant]
"""What a kind of caller sees, by the table's name."""


class Access(NamedTuple):
    """What one request may touch of one table."""

    models: TableModels
    reach: Reach
    sight: Sight

    @property
    def table(self) -> TableInfo:
        """The table as the caller sees it."""
        return self.reach.table

    def related(self) -> Iterator[Reach]:
        """Yield what the caller reaches of each table."""
        for grant in self.sight.values():
            yield Reach(grant.models.info, self.reach.person)


class Rule(NamedTuple):
    """Whom a route answers. Every route has one."""

    is_public: bool = False
    scope: str = ""
    """The scope that a service must have; people must be admins."""
    policy: Policy | None = None
    """What decides, by what a request does with the rows of a table."""
    takes_write_keys: bool = False
    """Whether its clients are those of Segment: they show an API key as a user name without password (RFC 7617), and
    look for `code` and `message` in an error."""


PUBLIC = Rule(is_public=True)
SIGNED_IN = Rule()
FOR_METRICS = Rule(scope=METRICS_SCOPE)
FOR_ADMINS = Rule(scope=ADMIN_SCOPE)
FOR_SEGMENT = Rule(takes_write_keys=True)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks."""

    role: Role
    name: str
    """The user id or the id of the API key; empty for those without."""
    person: str | None
    """The user id, for those who reach only their own rows."""
    sight: Sight
    scopes: frozenset[str] = frozenset()

    def may(self, table: str, action: Action) -> bool:
        """Whether they may do something with rows of a table."""
        grant = self.sight.get(table)
        return grant is not None and action in grant.permission

    def access(self, table: str, action: Action) -> Access:
        """What they may touch of a table.

        Raises:
            Forbidden: they may not do this with any row of it.
            Unauthenticated: they have not said who they are.
        """
        grant = self.sight.get(table)
        if grant is None or action not in grant.permission:
            self.refuse(f"may not {action} rows of {table}")
        return Access(grant.models, Reach(grant.models.info, self.person), self.sight)

    def check(self, rule: Rule) -> None:
        """Refuse a route that is not for them; what a policy says is decided where rows are touched.

        Raises:
            Forbidden, Unauthenticated: it is not.
        """
        if self.role is Role.NOBODY and not rule.is_public:
            raise Unauthenticated(WHO_ARE_YOU)
        if rule.scope and not (self.role in UNLIMITED or rule.scope in self.scopes):
            self.refuse("may not ask this")

    def refuse(self, what: str) -> NoReturn:
        """Refuse what they may not do.

        Raises:
            Forbidden, Unauthenticated: always.
        """
        if self.role is Role.NOBODY:
            raise Unauthenticated(WHO_ARE_YOU)
        raise Forbidden(f"{'an' if self.role is Role.ADMIN else 'a'} {self.role} {what}")


WHO_ARE_YOU = "say who you are: Authorization: Bearer <Firebase ID token>, or X-API-Key: <key>"
UNLIMITED = frozenset({Role.ANYBODY, Role.ADMIN})
NOBODY = Principal(Role.NOBODY, "", None, {})


class Policies:
    """The policies of an application's tables."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._policies: dict[str, Policy] = {}
        for policy in policies:
            if self._policies.setdefault(policy.table, policy) != policy:
                raise TypeError(f"{policy.table} has two policies; its routers must agree on who owns a row")
        self.sight = lru_cache(CACHED_SIGHTS)(self._make_sight)

    @property
    def resources(self) -> frozenset[str]:
        """What scopes may name."""
        return frozenset(policy.resource for policy in self._policies.values())

    @property
    def watched(self) -> frozenset[str]:
        """The tables whose new rows can be watched."""
        return frozenset(policy.table for policy in self._policies.values() if policy.delivery)

    def owner_of(self, table: str) -> str:
        """The column with the owner of a table's rows; empty where they have none."""
        policy = self._policies.get(table)
        return policy.owner if policy else ""

    def principal(self, role: Role, name: str = "", scopes: frozenset[str] = frozenset()) -> Principal:
        """A caller of this role."""
        return Principal(role, name, name if role is Role.USER else None, self.sight(role, scopes), scopes)

    def _make_sight(self, role: Role, scopes: frozenset[str]) -> Sight:
        grants: dict[str, Grant] = {}
        for name, models in MODEL_MAP.items():
            # A table without routes can be reached by expansions alone, for those who may do everything.
            policy = self._policies.get(name) or Policy(name, name)
            permission = policy.permission(role, scopes)
            if permission != NOTHING:
                hidden = policy.hidden.get(role, ())
                grants[name] = Grant(models.seen_as(policy.owner, policy.delivery, hidden), permission)
        readable = {name: grant.models.info for name, grant in grants.items() if Action.READ in grant.permission}
        for name, grant in grants.items():
            grant.models.info.relations.update(
                _visible(relations_of(MODEL_MAP[name].info), grant.models.info, readable)
            )
        return grants


def _visible(
    relations: Mapping[str, Relation], table: TableInfo, readable: Mapping[str, TableInfo]
) -> dict[str, Relation]:
    """Those of a table's relations that lead to what can be read."""
    return {
        name: relation._replace(table=readable[relation.table.name])
        for name, relation in relations.items()
        if relation.table.name in readable
        and relation.column in table.by_name
        and relation.other_column in readable[relation.table.name].by_name
    }
