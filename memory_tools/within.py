"""Within: the memory of a person, or what an organization lets it do, inside a transaction that is open already."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

from memory_tools.configurations import Configurations
from memory_tools.memory import UserMemory
from storage.configuring import ConfigurationEdits
from storage.stores import Stores

Answer = TypeVar("Answer")


class Within(UserMemory):
    """One person's memory whose every question and act is a part of one transaction; of no use after its end."""

    def __init__(self, person: UserMemory, stores: Stores) -> None:
        super().__init__(person.memory, person.identity)
        self.provenance = person.provenance
        self._stores = stores

    @contextmanager
    def begin(self) -> Generator[Stores]:
        """Give the stores of the open transaction, which goes on afterwards."""
        yield self._stores

    read = begin

    def ask(self, question: Callable[[Stores], Answer]) -> Answer:
        """Read in the open transaction."""
        return question(self._stores)

    def do(self, act: Callable[[Stores], Answer]) -> Answer:
        """Write in the open transaction."""
        return act(self._stores)

    def change(self, act: Callable[[Stores], Answer]) -> Answer:
        """Write in the open transaction."""
        return act(self._stores)


class Configuring(UserMemory):
    """Somebody of an organization, whose configurations are written in one transaction; of no use after its end."""

    def __init__(self, person: UserMemory, edits: ConfigurationEdits) -> None:
        super().__init__(person.memory, person.identity)
        self._edits = edits

    @property
    def configurations(self) -> Configurations:
        """The configurations as they are written in the open transaction."""
        return Configurations(self.memory.database, self._edits)
