"""Room: how much may be shown to a model at once, and what still fits."""


class Room:
    """Counts what is taken until there is room for no more. The first always fits, however long it is."""

    def __init__(self, entries: int, characters: int) -> None:
        self._entries = entries
        self._characters = characters
        self._taken = 0

    def takes(self, characters: int) -> bool:
        """Take an entry of so many characters; False, and nothing is taken, where it does not fit any more."""
        if self._taken and (not self._entries or characters > self._characters):
            return False
        self._taken += 1
        self._entries -= 1
        self._characters -= characters
        return True
