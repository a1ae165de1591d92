"""Several requests over any resources, carried out in one transaction: all of them or none."""

from typing import NoReturn
from urllib.parse import unquote

import msgspec
from starlette.types import Scope

from src.api.conditions import refuse_conditions
from src.api.direct import find_handler, index_of
from src.api.entrance.audit import reads_of
from src.api.http import JSON_TYPE, Answer, Read, Request, StreamedAnswer, receive_of, shortened
from src.api.preferences import read_preferences
from src.api.strict_json import parse_json
from src.core.errors import (
    ApiError,
    Forbidden,
    InvalidRequest,
    PersonErased,
    PreconditionFailed,
    Problem,
    RowConflict,
    RowNotFound,
    Unavailable,
)
from src.db.connection import Connection

MAX_REQUESTS = 100
# What is answered stands in memory until all is committed.
MAX_ANSWER_BYTES = 32 * 1024 * 1024
BATCH_PATH = "/batch"
# Around a document stand the batch, its list, a request, an array of rows, and a row.
LEVELS = 5
# What a part may say of itself; who asks is said once, by the batch.
HEADERS = ("Accept", "Content-Type", "If-Match", "If-None-Match", "Prefer")
# Errors that mean the same for the batch as for its part.
KEPT = (Forbidden, InvalidRequest, PersonErased, PreconditionFailed, RowConflict, RowNotFound, Unavailable)
# How the answer's headers are written.
NAMES = {"etag": "ETag"}


class Part(msgspec.Struct, forbid_unknown_fields=True):
    """One request of a batch."""

    method: str
    url: str
    headers: dict[str, str] = {}
    body: msgspec.Raw = msgspec.Raw(b"")


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a batch."""

    requests: list[Part]


_decode = msgspec.json.Decoder(Batch).decode


async def run_batch(request: Request) -> Answer:
    """Carry out up to 100 requests over any resources in one transaction, in their order, and answer what each answers.

    The first one that fails undoes all, and the error names it by its index. A request reads what those before it have
    written. Exports are no part of a batch. With `Prefer: tx=rollback` it is only tried.
    """
    request.refuse_parameters()
    refuse_conditions(request)
    prefers = read_preferences(request.header(b"prefer"))
    _, body = await request.bulk_body_of(JSON_TYPE)
    parts = _read_parts(body)
    prepared = [_prepare(request, index, part) for index, part in enumerate(parts)]

    async def run(db: Connection) -> Answer:
        answers: list[bytes] = []
        reads: list[Read] = []
        room = MAX_ANSWER_BYTES
        for index, part in enumerate(prepared):
            answer, read = await _run_part(part, db, index)
            answers.append(answer)
            reads += read
            room -= len(answer)
            if room < 0:
                raise _refused(index, "url", f"the answers have more than {MAX_ANSWER_BYTES} bytes; ask for less")
        return Answer(200, b"[" + b",".join(answers) + b"]", prefers.applied("tx"), reads=tuple(reads))

    return await request.transact(run, is_rehearsal=prefers.is_rehearsal)


def _read_parts(body: bytes) -> list[Part]:
    text = parse_json(body, levels=LEVELS).text
    try:
        parts = _decode(text).requests
    except msgspec.ValidationError as error:
        reason = str(error).replace("`$.", "`").replace("`$`", "the body")
        raise InvalidRequest(
            f'{shortened(reason, 200)}; send {{"requests": [{{"method", "url", "headers", "body"}}]}}',
            (Problem("body", "", shortened(reason, 200)),),
        ) from None
    if len(parts) > MAX_REQUESTS:
        reason = f"{MAX_REQUESTS} requests are the most in one batch"
        raise InvalidRequest(f"the batch has {len(parts)} requests; {reason}", (Problem("body", "/requests", reason),))
    return parts


def _prepare(request: Request, index: int, part: Part) -> Request:
    """A part as a request of its own.

    Raises:
        InvalidRequest: it cannot be one of a batch.
    """
    path, _, query = part.url.partition("?")
    if not path.startswith("/") or not path.isascii() or not query.isascii() or "#" in part.url:
        raise _refused(index, "url", "takes a path of this service, percent-encoded, such as /users/ada?fields=user_id")
    root: str = request.scope.get("root_path", "")
    path = unquote(path)
    if path.removeprefix(root).rstrip("/") == BATCH_PATH:
        raise _refused(index, "url", "a batch is no part of a batch")
    headers = {name.lower(): value for name, value in part.headers.items()}
    for name, value in headers.items():
        if name not in map(str.lower, HEADERS):
            raise _refused(
                index, f"headers/{name}", f"a part takes {', '.join(HEADERS)}; all else is said by the batch"
            )
        if not (value.isascii() and value.isprintable()):
            raise _refused(index, f"headers/{name}", "takes printable ASCII")
    try:
        has_tx = read_preferences(headers.get("prefer", "").encode()).tx
    except InvalidRequest as error:
        raise _refused(index, "headers/prefer", error.detail) from None
    if has_tx:
        raise _refused(index, "headers/prefer", "tx is said by the batch, for all of its parts")
    body = _body_of(index, part, headers.setdefault("content-type", JSON_TYPE.decode()))
    scope: Scope = {
        **request.scope,
        "method": part.method,
        "path": path if path.startswith(root) else root + path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    return Request(scope, receive_of(body), "", request.principal)


def _body_of(index: int, part: Part, content_type: str) -> bytes:
    body = bytes(part.body)
    if body in (b"", b"null"):
        return b""
    if "json" in content_type and "ndjson" not in content_type:
        return body
    text = msgspec.json.decode(body)
    if not isinstance(text, str):
        raise _refused(index, "body", f"takes a text where Content-Type is {shortened(content_type)}")
    return text.encode()


async def _run_part(part: Request, db: Connection, index: int) -> tuple[bytes, tuple[Read, ...]]:
    """Carry out a part; what it answers, and what it has read."""
    try:
        resource, key = index_of(part.scope["app"]).find(part.scope)
        if resource is None or resource.rule.policy is None:
            raise InvalidRequest(f"nothing that a batch could ask is at {shortened(part.scope['path'])}")
        handle = find_handler(resource, part.scope["method"])
        part = part._replace(key=key, transaction=db)
        answer = await handle(part)
        if isinstance(answer, StreamedAnswer):
            raise InvalidRequest("an export is no part of a batch; ask for it alone")
        reads = reads_of(part, resource, answer.rows)
    except ApiError as error:
        _fail(index, part, error)
    headers = {_name_of(name): value.decode("latin-1") for name, value in answer.headers}
    encoded = msgspec.json.encode(headers)
    return b'{"status":%d,"headers":%s,"body":%s}' % (answer.status, encoded, answer.body or b"null"), reads


def _fail(index: int, part: Request, error: ApiError) -> NoReturn:
    """Say of an error which part it is about; what has no meaning for the batch as a whole becomes a 400."""
    detail = f"request {index} ({shortened(part.scope['method'])} {shortened(part.scope['path'])}): {error.detail}"
    problems = tuple(_placed(index, problem) for problem in error.problems)
    problems = problems or (Problem("body", f"/requests/{index}", error.detail),)
    kept = isinstance(error, KEPT)
    raise (type(error) if kept else InvalidRequest)(detail, problems) from error


def _placed(index: int, problem: Problem) -> Problem:
    inside = problem.pointer if problem.place == "body" else f"/{problem.pointer}"
    place = {"body": "body", "header": "headers"}.get(problem.place, "url")
    return problem._replace(place="body", pointer=f"/requests/{index}/{place}{'' if place == 'url' else inside}")


def _refused(index: int, member: str, reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"request {index}: {shortened(member)}: {reason}",
        (Problem("body", f"/requests/{index}/{shortened(member)}", reason),),
    )


def _name_of(name: bytes) -> str:
    text = name.decode()
    return NAMES.get(text, text.title())
