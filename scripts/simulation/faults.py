"""What goes wrong with a phone, and how often."""

from random import Random

# Per event: the phone loses a few numbers here, for ever. Per batch: it is sent in disorder; with events that were sent
# before; the app ends in the middle of the request. Per stretch of time: the app is installed again from an old backup.
# Wrong clocks are the lot of a phone, not of a moment.
CHANCES = {"gap": 0.01, "reorder": 0.3, "duplicate": 0.15, "kill": 0.08, "reinstall": 0.1, "skew": 0.7}


class Faults:
    """The kinds of faults of a simulation."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names

    def strikes(self, name: str, chance: Random) -> bool:
        """Whether a fault of this kind happens now."""
        return name in self.names and chance.random() < CHANCES[name]


def parse_faults(text: str) -> Faults:
    """Faults as the command line names them: `duplicate,gap`.

    Raises:
        ValueError: there is no such fault.
    """
    names = frozenset(filter(None, text.split(",")))
    for name in names - CHANCES.keys():
        raise ValueError(f"there is no fault {name!r}; there are {', '.join(sorted(CHANCES))}")
    return Faults(names)
