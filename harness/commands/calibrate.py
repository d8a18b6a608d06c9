"""`overlaybench calibrate nat|link`: the instruments prove themselves."""

from __future__ import annotations

import click

from harness.commands.calibrate_link import calibrate_link_command
from harness.commands.calibrate_nat import calibrate_nat_command


@click.group("calibrate")
def calibrate_group() -> None:
    """Prove every NAT behaviour or link backend on this machine; exit 1 on any difference."""


calibrate_group.add_command(calibrate_nat_command)
calibrate_group.add_command(calibrate_link_command)
