"""Seed 001 written literally: reconstruct from the last full snapshot, diff with jsonpatch, insert the next version."""

import json
from typing import Any

import jsonpatch

CREATE = """
CREATE TABLE IF NOT EXISTS user_memory_snapshots (
  user_id text NOT NULL, version integer NOT NULL, patch text NOT NULL, is_full_snapshot boolean NOT NULL,
  full_snapshot_content text NULL, created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE (user_id, version))
"""


class LiteralSeed:
    """The table and the three functions of the seed, on a plain driver connection (SQLite or psycopg)."""

    def __init__(self, connection: Any, mark: str) -> None:
        self._run = connection.execute
        self._mark = mark
        self._run(CREATE)

    def reconstruct(self, user: str) -> tuple[int, dict[str, Any]]:
        """Return the newest version and its document."""
        full = self._run(
            f"SELECT version, full_snapshot_content FROM user_memory_snapshots WHERE user_id = {self._mark}"
            " AND is_full_snapshot ORDER BY version DESC LIMIT 1",
            (user,),
        ).fetchone()
        version, document = (full[0], json.loads(full[1])) if full else (0, {})
        rows = self._run(
            f"SELECT version, patch FROM user_memory_snapshots WHERE user_id = {self._mark}"
            f" AND version > {self._mark} ORDER BY version",
            (user, version),
        ).fetchall()
        for _, patch in rows:
            document = jsonpatch.apply_patch(document, json.loads(patch))
        return rows[-1][0] if rows else version, document

    def save(self, user: str, after: dict[str, Any]) -> None:
        """Save `after` as the next version, in full every 50 versions."""
        version, before = self.reconstruct(user)
        patch = jsonpatch.make_patch(before, after).to_string()
        version += 1
        is_full = version % 50 == 1
        content = json.dumps(after) if is_full else None
        marks = ", ".join([self._mark] * 5)
        self._run(
            "INSERT INTO user_memory_snapshots (user_id, version, patch, is_full_snapshot, full_snapshot_content)"
            f" VALUES ({marks})",
            (user, version, patch, is_full, content),
        )
