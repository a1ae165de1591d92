"""Logging: JSON lines in production, readable ones in a terminal; one line per request, never a body."""

import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple, TextIO

import msgspec

from src.core.config import Settings

FIELDS = "fields"
"""`logger.info(text, extra={FIELDS: {...}})` puts these members beside the text."""


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class TextFormatter(logging.Formatter):
    """A time, a level, the text, and the fields behind it."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        line = f"{time} {record.levelname:<7} {record.getMessage()}{_as_text(getattr(record, FIELDS, {}))}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class LineLog:
    """Lines of one logger, written past `logging`, whose records cost as much as reading a row.

    They look like those of the formatters above and go to the same stream.
    """

    def __init__(self, name: str, stream: TextIO, *, is_text: bool) -> None:
        self._name = name
        self._write = stream.write
        self._is_text = is_text

    def write(self, message: str, fields: dict[str, Any], level: str = "info") -> None:
        """Write one line; the stream is line-buffered, so it is out when this returns.

        A line that cannot be written is lost, as it is with `logging`: requests are answered while a disk is full.
        """
        with suppress(OSError, ValueError):
            self._write(self._line_of(message, fields, level))

    def _line_of(self, message: str, fields: dict[str, Any], level: str) -> str:
        time = datetime.now(UTC)
        if self._is_text:
            return f"{time:%H:%M:%S}.{time.microsecond // 1000:03} {level.upper():<7} {message}{_as_text(fields)}\n"
        line = {"time": time.isoformat(timespec="milliseconds"), "level": level, "logger": self._name}
        return msgspec.json.encode({**line, "message": message, **fields}).decode() + "\n"


def _as_text(fields: dict[str, Any]) -> str:
    return "".join(f" {name}={value}" for name, value in fields.items())


class Lines(NamedTuple):
    """What is written past `logging`."""

    requests: LineLog | None
    """One line per request; None where the level leaves them out."""
    audit: LineLog
    """Who was denied what, and who has read what of others; kept whatever the level leaves out."""


def configure_logging(settings: Settings, stream: TextIO | None = None) -> Lines:
    """Send every log line of the process to `stream`, standard error by default.

    `LOG_FORMAT=auto` means readable lines in a terminal and JSON everywhere else. Returns what does not go through
    `logging`.
    """
    stream = stream or sys.stderr
    is_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if is_text else JsonFormatter())
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "alembic"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # The service writes its own line per request.
    logging.getLogger("uvicorn.access").disabled = True
    requests = LineLog("requests", stream, is_text=is_text) if settings.log_level in ("DEBUG", "INFO") else None
    return Lines(requests, LineLog("audit", stream, is_text=is_text))
