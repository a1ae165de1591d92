"""Hints at what would have been right."""

from difflib import get_close_matches


def nearest(name: str, known: list[str]) -> str:
    """A hint at the known name that resembles `name` most, or at all of them."""
    matches = get_close_matches(name[:100], known, n=1)
    return f"; did you mean {matches[0]}?" if matches else f"; known are {', '.join(known)}"
