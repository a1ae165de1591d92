"""Error class -> status, and the problem document that answers it (RFC 9457)."""

from http import HTTPStatus
from typing import Any

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from src.api.http import Answer, shortened
from src.core import errors
from src.core.errors import ApiError

STATUS_CODES: dict[type[ApiError], int] = {
    errors.InvalidRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.RowNotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.RequestTimeout: 408,
    errors.RowConflict: 409,
    errors.KeyReused: 409,
    errors.PersonErased: 410,
    errors.PreconditionFailed: 412,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.TooManyRequests: 429,
    errors.Unavailable: 503,
}
MAX_PROBLEMS = 100
PROBLEM_TYPE = b"application/problem+json"
DEFECT = "something went wrong in the service; it has been logged under this request_id"


def status_of(error: ApiError) -> int:
    """The status code of an error: that of the nearest class above it in the table."""
    return next(STATUS_CODES[class_] for class_ in type(error).__mro__ if class_ in STATUS_CODES)


def answer_error(error: ApiError, path: str, request_id: str, *, has_code: bool = False) -> Answer:
    """The answer to a request that ended in `error`.

    With `has_code` it has the members `code` and `message` too: without them, SDKs of RudderStack take any error for
    one of the network, and try again where nothing can come of it.
    """
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if isinstance(error, errors.Unavailable):
        headers = ((b"retry-after", b"%d" % error.retry_after_s),)
    elif isinstance(error, errors.TooManyRequests):
        headers = ((b"retry-after", b"%d" % error.retry_after_s), *error.headers)
    elif isinstance(error, errors.MethodNotAllowed):
        headers = ((b"allow", error.allow.encode()),)
    elif isinstance(error, errors.RequestTimeout):
        headers = ((b"connection", b"close"),)
    elif isinstance(error, errors.Unauthenticated):
        headers = ((b"www-authenticate", b"Bearer"),)
    body = problem_document(status_of(error), error.detail, path, request_id)
    if error.problems:
        body["errors"] = [_item(problem) for problem in error.problems[:MAX_PROBLEMS]]
    if has_code:
        body |= {"code": body["title"].lower().replace(" ", "_"), "message": error.detail}
    return Answer(status_of(error), msgspec.json.encode(body), headers, PROBLEM_TYPE)


def _item(problem: errors.Problem) -> dict[str, object]:
    item: dict[str, object] = {"in": problem.place, "pointer": problem.pointer, "detail": problem.detail}
    if problem.line is not None:
        item["line"] = problem.line
    if problem.column is not None:
        item["column"] = problem.column
    return item


def answer_status(status: int, detail: str, path: str, request_id: str) -> Answer:
    """The answer to a request that ended in a bare status code."""
    return Answer(status, msgspec.json.encode(problem_document(status, detail, path, request_id)), (), PROBLEM_TYPE)


def problem_document(status: int, detail: str, path: str, request_id: str) -> dict[str, Any]:
    """The members that every error answer has."""
    return {
        "detail": detail,
        "status": status,
        "title": HTTPStatus(status).phrase,
        "type": "about:blank",
        "instance": shortened(path),
        "request_id": request_id,
    }


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """Answer what FastAPI itself raises: no such path, no such method, a file that is not there."""
    assert isinstance(error, HTTPException)
    detail = f"nothing is at {shortened(request.url.path)}" if error.status_code == 404 else str(error.detail)
    body = problem_document(error.status_code, detail, request.url.path, request.scope.get("request_id", ""))
    return Response(msgspec.json.encode(body), error.status_code, error.headers, PROBLEM_TYPE.decode())


async def answer_invalid_request(request: Request, error: Exception) -> Response:
    """Answer FastAPI's own validation, on routes that are added by hand: 400, and nothing of the input."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    body = problem_document(
        400, shortened(f"{place}: {first['msg']}", 300), request.url.path, request.scope.get("request_id", "")
    )
    return Response(msgspec.json.encode(body), 400, None, PROBLEM_TYPE.decode())
