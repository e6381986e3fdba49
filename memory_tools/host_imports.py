"""Host imports: each host is read in a thread of its own, so that one that hangs keeps nothing else from being done."""

import logging
import threading
from collections.abc import Sequence
from datetime import datetime
from time import monotonic
from typing import Final

from memory_tools.host_conversations import HostConversations, import_ended
from memory_tools.memory import Memory
from storage.errors import DatabaseUnavailable

IMPORT_SECONDS: Final = 10.0
"""Seconds after which an import is not waited for any more. It goes on, and a later look finds what it brings."""

_log = logging.getLogger(__name__)


class HostImports:
    """Copies what hosts keep, from all of them at once, and from none of them twice at the same time."""

    def __init__(
        self, memory: Memory, hosts: Sequence[HostConversations], *, seconds: float | None = IMPORT_SECONDS
    ) -> None:
        """`seconds` is for how long an import is waited for, counted from its beginning; None as long as it takes."""
        self._memory = memory
        self._hosts = tuple(hosts)
        self._seconds = seconds
        self._begun: dict[int, _Import] = {}
        self._lock = threading.Lock()

    def copy(self, before: datetime) -> None:
        """Copy what is new in the conversations that ended before `before` (`import_ended`).

        A host that is still being read from an earlier time is not asked again until that has ended. Raises
        DatabaseUnavailable where our own database was, and leaves the errors of hosts to the log.
        """
        imports = [self._begin(number, host, before) for number, host in enumerate(self._hosts)]
        late = sum(not each.has_ended(self._seconds) for each in imports)
        if late:
            _log.warning("%d of %d hosts are still being read: what they bring comes later", late, len(imports))
        for each in imports:
            if each.error is not None:
                raise each.error

    def _begin(self, number: int, host: HostConversations, before: datetime) -> "_Import":
        with self._lock:
            begun = self._begun.get(number)
            if begun is None or begun.has_ended(0.0):
                begun = self._begun[number] = _Import(self._memory, host, before)
            return begun


class _Import:
    """One reading of one host, which is going on."""

    def __init__(self, memory: Memory, host: HostConversations, before: datetime) -> None:
        self.error: DatabaseUnavailable | None = None
        self._memory, self._host, self._before = memory, host, before
        self._began = monotonic()
        # A daemon: nobody can end what hangs in a host, and it must not keep the process.
        self._thread = threading.Thread(target=self._run, name="usermemory-import", daemon=True)
        self._thread.start()

    def has_ended(self, seconds: float | None) -> bool:
        """Wait until so many seconds after its beginning, or without an end, and tell whether it has ended."""
        self._thread.join(None if seconds is None else max(0.0, self._began + seconds - monotonic()))
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            import_ended(self._memory, self._host, self._before)
        except DatabaseUnavailable as error:
            self.error = error
        except BaseException as error:  # noqa: BLE001 - a host's own code, in a thread where nobody else hears of it
            _log.error("a host could not be read: %s", type(error).__name__)
