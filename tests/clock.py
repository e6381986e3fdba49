"""Time for tests: clocks that stand still or are ahead, and seconds that pass, as a test says."""

from datetime import UTC, datetime, timedelta


class Clock:
    """Returns the same moment again and again."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> datetime:
        """Go on by so many seconds, or back, and return the new time."""
        self.now += timedelta(seconds=seconds)
        return self.now


class Ahead:
    """The time of this machine, and later once a test moves it: what other processes hold expires without waiting."""

    def __init__(self) -> None:
        self.by = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.by

    def move(self, seconds: float) -> None:
        """Be ahead by so many seconds more."""
        self.by += timedelta(seconds=seconds)


class Seconds:
    """A timer."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.now += seconds
