"""Who asks, and what may be done with the rows of a table: plain data, for every layer."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from src.core.tables import Delivery


class Action(StrEnum):
    """What a request does with rows."""

    READ = "read"
    CREATE = "create"
    CHANGE = "change"
    """Replace, change in part, delete."""


Permission = frozenset[Action]

NOTHING: Permission = frozenset()
READ: Permission = frozenset({Action.READ})
APPEND: Permission = READ | {Action.CREATE}
WRITE: Permission = APPEND | {Action.CHANGE}


class Role(StrEnum):
    """What kind of caller somebody is."""

    ANYBODY = "anybody"
    """Authentication is off: everything is open."""
    NOBODY = "nobody"
    """No credentials."""
    USER = "user"
    RESEARCHER = "researcher"
    SERVICE = "service"
    ADMIN = "admin"


# They see the rows of everybody, so what they read is written down.
WATCHED = frozenset({Role.RESEARCHER, Role.SERVICE, Role.ADMIN})


class Policy(NamedTuple):
    """Who may do what with the rows of one table."""

    table: str
    resource: str
    """What scopes call the table: `events:write`."""
    owner: str = ""
    """The column with the user id of the person whom a row belongs to; empty where rows belong to nobody."""
    users_may: Permission = NOTHING
    """What users may do with their own rows; with all rows, where these belong to nobody."""
    hidden: Mapping[Role, tuple[str, ...]] = {}
    """Columns that do not exist for a role."""
    delivery: Delivery | None = None
    """What devices say of its rows, where they deliver them: such rows are noted, and can be watched."""

    def permission(self, role: Role, scopes: frozenset[str]) -> Permission:
        """What a caller of this role, with these scopes, may do."""
        match role:
            case Role.ANYBODY | Role.ADMIN:
                return WRITE
            case Role.RESEARCHER:
                return READ
            case Role.USER:
                return self.users_may
            case Role.SERVICE:
                return self._scoped(scopes)
        return NOTHING

    def _scoped(self, scopes: frozenset[str]) -> Permission:
        """What scopes allow; to write is to append too, and neither is to read."""
        granted: set[Action] = set()
        for scope in scopes:
            resource, _, word = scope.partition(":")
            if resource in (self.resource, "*"):
                granted |= SCOPES.get(word, NOTHING)
        return frozenset(granted)


SCOPES: Mapping[str, Permission] = {
    "read": READ,
    "append": frozenset({Action.CREATE}),
    "write": frozenset({Action.CREATE, Action.CHANGE}),
}
# Scopes that are no part of one resource.
ADMIN_SCOPE, RESEARCHER_SCOPE, METRICS_SCOPE = "admin", "researcher", "metrics"


def role_of_scopes(scopes: frozenset[str]) -> Role:
    """The role of a service: two scopes make it what a person could be."""
    if ADMIN_SCOPE in scopes:
        return Role.ADMIN
    return Role.RESEARCHER if RESEARCHER_SCOPE in scopes else Role.SERVICE
