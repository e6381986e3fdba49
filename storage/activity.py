"""Activity: that a person did something which memory itself has not seen, as the host says it (seed 001)."""

import sqlalchemy as sa

from storage.tables import owners
from storage.transaction import Work


class ActivityStore:
    """When one owner was last active outside of memory."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def note(self) -> None:
        """Note that the person is active now: the next daily job looks after their memory, too.

        Messages and items note it by themselves. Of somebody whom memory has not met nothing is noted.
        """
        me = sa.update(owners).where(owners.c.id == self._work.owner)
        self._work.execute(me.values(last_active_at=self._work.clock()))
