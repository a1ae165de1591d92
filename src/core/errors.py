"""What can go wrong, as the rest of the code raises it.

    ApiError
    ├── InvalidRequest      what the client sent cannot be right
    │   ├── UnknownName         a column, parameter or member that does not exist
    │   └── ValueRefused        the database refuses the value (null, check, range)
    ├── Unauthenticated     no credentials, or none that count
    ├── Forbidden           the caller is known and may not
    ├── RowNotFound         no row has this key, or none that the caller may see
    ├── PersonErased        the row is about a person who was erased
    ├── RowConflict         another row stands in the way
    │   ├── KeyExists           a row with this key or unique value exists
    │   └── ReferenceBroken     a foreign key would point nowhere: the row refers to none, or is referred to
    ├── KeyReused           another request had this Idempotency-Key
    ├── PreconditionFailed  the row is not the one that the client has read
    ├── RequestTimeout      the body did not arrive in time
    ├── BodyTooLarge        more bytes than the limit
    ├── UnsupportedMedia    a body that is not JSON in UTF-8
    ├── MethodNotAllowed    the path exists, the method does not
    ├── TooManyRequests     more requests than a limit allows
    └── Unavailable         try again later
        ├── DatabaseAway        no connection to the database
        ├── DatabaseBusy        pool exhausted, time limit passed, deadlock, disk full
        ├── FeatureMissing      the database is of a kind that cannot do this
        ├── NotServedHere       an open service is asked from elsewhere than its own machine
        ├── SchemaMismatch      the database lacks a table or a column of the models
        └── ShuttingDown        the process is about to end

`db` raises its members deep and precisely, `api/errors.py` gives each a status code.
"""

from typing import NamedTuple


class Problem(NamedTuple):
    """One thing wrong with a request: where it stands, and what would have been right."""

    place: str
    """`body`, `query`, `path` or `header`."""
    pointer: str
    """JSON pointer into the body, or the name of the parameter."""
    detail: str
    line: int | None = None
    """In a body of lines, the line, counted from 1."""
    column: int | None = None
    """In a CSV, the column, counted from 1."""


class ApiError(Exception):
    """An error that has an answer. Its text is read by API users and never holds a secret."""

    def __init__(self, detail: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problems = problems
        self.row: int | None = None
        """Which of many rows was refused, counted from 0."""


class InvalidRequest(ApiError):
    """What the client sent cannot be right, whatever the database holds."""


class UnknownName(InvalidRequest):
    """A column, parameter or member that does not exist."""


class ValueRefused(InvalidRequest):
    """The database refuses a value: null, check, length or range."""


class Unauthenticated(ApiError):
    """No credentials, or none that count; the text is the same for all causes."""

    def __init__(self, detail: str, reason: str = "no credentials") -> None:
        super().__init__(detail)
        self.reason = reason
        """What was wrong, for the log alone."""


class Forbidden(ApiError):
    """The caller is known and may not do this."""


class RowNotFound(ApiError):
    """No row has this key, or none that the caller may see."""


class PersonErased(ApiError):
    """The row is about a person who was erased: it is not stored, now or later."""


class RowConflict(ApiError):
    """Another row stands in the way."""


class KeyExists(RowConflict):
    """A row with this key, or with this value in a unique column, exists already."""


class ReferenceBroken(RowConflict):
    """A foreign key would point nowhere: the row refers to a missing one, or others refer to the deleted one."""


class KeyReused(ApiError):
    """Another request had this Idempotency-Key."""


class PreconditionFailed(ApiError):
    """The row is not, or not any more, the one that the client said."""


class RequestTimeout(ApiError):
    """The body did not arrive in time."""


class BodyTooLarge(ApiError):
    """The body has more bytes than the limit."""


class UnsupportedMedia(ApiError):
    """The body is not JSON in UTF-8."""


class MethodNotAllowed(ApiError):
    """The path exists, the method does not."""

    def __init__(self, detail: str, allow: str) -> None:
        super().__init__(detail)
        self.allow = allow


class TooManyRequests(ApiError):
    """More requests than a limit allows; nothing of this one was looked at."""

    def __init__(self, detail: str, retry_after_s: int, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.headers = headers
        """What the answer tells of the limit."""


class AnswerCutOff(Exception):
    """An answer that had begun could not be finished. It has been logged; the server breaks the connection for it."""


class Unavailable(ApiError):
    """The request was fine and may work later; nothing of it was stored."""

    retry_after_s = 1


class DatabaseAway(Unavailable):
    """No connection to the database."""

    retry_after_s = 2


class DatabaseBusy(Unavailable):
    """Pool exhausted, time limit passed, deadlock, disk full."""


class FeatureMissing(Unavailable):
    """The database is of a kind that has no such statement."""


class NotServedHere(Unavailable):
    """The service has no authentication, and is asked by somebody who may be on another machine."""

    retry_after_s = 60


class SchemaMismatch(Unavailable):
    """The database lacks a table or a column of the models: migrations have not run."""

    retry_after_s = 10


class ShuttingDown(Unavailable):
    """The process is about to end."""
