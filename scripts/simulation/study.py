"""What is simulated."""

from typing import Any, NamedTuple

from scripts.simulation.faults import Faults


class Study(NamedTuple):
    """What is simulated. All of what the phones store follows from it."""

    seed: int
    participants: int
    days: int | None
    """None: until somebody ends it."""
    faults: Faults
    events_per_day: int = 200
    batch_sizes: tuple[int, ...] = (1, 10, 50, 200, 500, 1000)

    def describe(self) -> dict[str, Any]:
        """The study as it stands in the truth."""
        return self._asdict() | {"faults": sorted(self.faults.names)}

    @property
    def prefix(self) -> str:
        """How the ids of all participants begin."""
        return prefix_of(self.seed)


def prefix_of(seed: int) -> str:
    """How the ids of all participants of the studies with this seed begin."""
    return f"sim{seed}-"
