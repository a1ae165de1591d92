"""How far a device's local time was ahead of UTC, as far as it has said so."""

from datetime import datetime

from src.core.tables import Delivery


def with_offset(delivery: Delivery, values: dict[str, object], happened_at: object) -> dict[str, object]:
    """The values with the offset of their time as the device wrote it, where they say nothing else.

    No offset says nothing of local time: most programs write times in UTC, wherever they are.
    """
    is_said = values.get(delivery.utc_offset) is not None
    is_time = isinstance(happened_at, str) and isinstance(values.get(delivery.happened_at), datetime)
    text = str(happened_at)
    if is_said or not is_time or text[-1] in "Zz" or text.endswith("00:00"):
        return values
    ahead_min = int(text[-5:-3]) * 60 + int(text[-2:])
    return {**values, delivery.utc_offset: -ahead_min if text[-6] == "-" else ahead_min}
