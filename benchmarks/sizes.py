"""Sizes: what 10,000 small edits of a 10 KB document take, against a full copy of each."""

import click
import sqlalchemy as sa

from benchmarks.documents import document_of, small_edit
from benchmarks.measuring import Report
from benchmarks.places import Place, postgresql_place, sqlite_place
from storage.canonical import canonical
from storage.tables import snapshots


def measure(place: Place, report: Report, edits: int) -> None:
    """Save the edits and count the bytes of the two columns."""
    document = document_of(10_240)
    copies = 0
    for number in range(edits):
        place.person.document.append(document)
        copies += len(canonical(document))
        document = small_edit(document, number)
    with place.person.read() as stores:
        work = stores.snapshots._work
        of = snapshots.c.owner_id == work.owner
        patches, checkpoints, versions = work.execute(
            sa.select(
                sa.func.sum(sa.func.length(snapshots.c.patch)),
                sa.func.sum(sa.func.length(sa.func.coalesce(snapshots.c.checkpoint, ""))),
                sa.func.count(),
            ).where(of)
        ).one()
        if place.server:
            table = work.execute(sa.text("SELECT pg_total_relation_size('usermemory.snapshots')")).scalar()
        else:
            table = work.execute(
                sa.text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            ).scalar()
    report.add(f"{place.name}: versions", versions, unit="")
    report.add(f"{place.name}: bytes of patches", float(patches), unit=" B")
    report.add(f"{place.name}: bytes of checkpoints", float(checkpoints), unit=" B")
    report.add(f"{place.name}: bytes of full copies", copies, unit=" B")
    report.add(f"{place.name}: size of the table with its indexes (SQLite: the whole file)", float(table), unit=" B")
    report.add(f"{place.name}: patches and checkpoints / full copies", float(patches + checkpoints) / copies, 1 / 15)


@click.command()
@click.option("--edits", default=10_000, help="Versions to save.")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(edits: int, save_to: str | None) -> None:
    """Measure bytes."""
    report = Report("sizes")
    for opened in (sqlite_place, postgresql_place):
        with opened() as place:
            measure(place, report, edits)
    report.finish(save_to)


if __name__ == "__main__":
    main()
