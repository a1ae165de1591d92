"""What a device's receipt says."""

from collections.abc import Iterable
from typing import Any


def covers(receipt: dict[str, Any], seq: int) -> bool:
    """Whether the phone may forget the event with this number."""
    if seq > receipt["received_through"]:
        return False
    return not any(first <= seq <= last for first, last in receipt["missing"])


def find_faults(receipt: dict[str, Any], acknowledged: set[int], maybe: Iterable[int]) -> list[str]:
    """What a receipt says wrongly of these numbers, in sentences. Numbers nobody sent have to be missing."""
    missing = {seq for first, last in receipt["missing"] for seq in range(first, last + 1)}
    stored = set(range(1, receipt["received_through"] + 1)) - missing
    contiguous = min(missing, default=receipt["received_through"] + 1) - 1
    faults = {
        f"it does not cover {_some(acknowledged - stored)}": acknowledged <= stored,
        f"it covers {_some(stored - acknowledged - set(maybe))}, which nobody sent": stored
        <= acknowledged | set(maybe),
        f"contiguous_through is {receipt['contiguous_through']}, not {contiguous}": (
            receipt["contiguous_through"] == contiguous
        ),
    }
    return [sentence for sentence, holds in faults.items() if not holds]


def _some(numbers: set[int]) -> str:
    return f"{len(numbers)} numbers such as {min(numbers, default=0)}"
