"""The patterns in the OpenAPI document are exactly what is accepted."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.api.query import PARSERS
from src.core import values
from src.core.tables import Kind


@pytest.mark.parametrize(
    ("pattern", "parse"),
    [
        (values.TIMESTAMP, values.parse_timestamp),
        (values.TIMESTAMP_FILTER, PARSERS[Kind.TIMESTAMP]),
        (values.LOCAL_TIMESTAMP, values.parse_local_timestamp),
        (values.DATE, values.parse_date),
        (values.UUID_TEXT, values.parse_uuid),
    ],
    ids=["timestamp", "filter", "local timestamp", "date", "uuid"],
)
def test_what_a_pattern_allows_is_read(pattern: str, parse: Callable[[str], object]) -> None:
    @settings(max_examples=400, derandomize=True, deadline=None)
    @given(st.from_regex(pattern.replace(r"\d", "[0-9]"), fullmatch=True))
    def check(text: str) -> None:
        text = text.removesuffix("\n")
        try:
            assert parse(text) is not None
        except ValueError as error:
            # A pattern cannot add an offset to a time: only the first and the last day are cut by it.
            assert "in the years" in str(error)  # noqa: PT017
            assert text[:10] in ("1970-01-01", "2200-12-31")

    check()


def test_every_day_of_the_calendar_and_no_other_is_a_date() -> None:
    day = date(1970, 1, 1)
    while day.year <= 2200:
        assert values.parse_date(day.isoformat()) == day
        assert values.parse_timestamp(f"{day}T12:00:00Z").date() == day
        day += timedelta(days=1)
    for year in (1900, 1970, 1999, 2023, 2100, 2200):
        with pytest.raises(ValueError, match="calendar"):
            values.parse_date(f"{year}-02-29")
    for text in ("0000-01-01", "2026-00-01", "2026-13-01", "2026-04-31", "2026-1-1", "20260101"):
        with pytest.raises(ValueError, match="calendar"):
            values.parse_date(text)
