"""Chains: a past document, from the nearest snapshot checkpoint at or below it and the patches after that."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.canonical import INTEGER_LIMIT, loads
from storage.errors import NotFound
from storage.json_types import Document
from storage.moment import checked_moment
from storage.patch import apply_in_place
from storage.tables import snapshots
from storage.transaction import Work


def reconstruct(work: Work, version: int) -> tuple[Document, str | None]:
    """Return the stored document of a version and the text of its provenance; version 0 is `{}` and has none.

    Raises NotFound for a version that was never saved.
    """
    if version == 0:
        return {}, None
    chain = work.hot.read_chain(version) if 0 < version < INTEGER_LIMIT else []
    if not chain or chain[-1].version != version:
        raise NotFound(f"there is no version {version}")
    document: Any = loads(chain[0].checkpoint or "{}")
    for link in chain[1:]:
        document = apply_in_place(document, loads(link.patch))
    return document, chain[-1].provenance


def version_at(work: Work, moment: datetime) -> int:
    """Return the newest version saved at or before `moment`, 0 when there was none.

    The few checkpoints have an index by time; the version is between two of them. Raises InvalidInput for a time
    without a zone.
    """
    moment = checked_moment(moment)
    mine, saved_at, version = snapshots.c.owner_id == work.owner, snapshots.c.created_at, snapshots.c.version
    checkpoints = sa.select(version).where(mine, snapshots.c.checkpoint.is_not(None)).limit(1)
    last = checkpoints.where(saved_at <= moment).order_by(saved_at.desc(), version.desc()).scalar_subquery()
    following = checkpoints.where(saved_at > moment).order_by(saved_at, version).scalar_subquery()
    between = version >= last, version < sa.func.coalesce(following, INTEGER_LIMIT - 1)
    return work.execute(sa.select(sa.func.max(version)).where(mine, *between, saved_at <= moment)).scalar() or 0
