"""Patience: how long one thing may take that a worker does."""

from datetime import timedelta

import click

from graphs.work.worker import PATIENCE
from usermemory.commands.durations import Duration

patience_option = click.option(
    "--patience",
    type=Duration(),
    metavar="TIME",
    envvar="USERMEMORY_PATIENCE",
    show_envvar=True,
    default=timedelta(seconds=PATIENCE),
    help="How long one conversation, person or message may take; what takes longer has failed."
    f"  [default: {PATIENCE / 60:.0f}m]",
)
"""As a timedelta."""
