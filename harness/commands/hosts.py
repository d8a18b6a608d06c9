"""`overlaybench hosts`."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from harness.commands.arguments import examples
from harness.errors import ScenarioError
from harness.hosts.certificates import CA, CERTIFICATE, KEY, VARIABLE, make_files, tls_files, tls_folder
from harness.hosts.fleet import load_fleet, slurm_options
from harness.hosts.scheduler import require_clusters

_INIT = examples("overlaybench hosts init", "overlaybench hosts init --dir /srv/overlaybench/tls")
_SCRIPT = examples("overlaybench hosts script slurm.yaml")


@click.group("hosts")
def hosts_group() -> None:
    """Prepare hosts for a run over many machines (docs/many-machines.md)."""


@hosts_group.command("init", epilog=_INIT)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to. Default: your configuration folder.",
)
def init_command(folder: Path | None) -> None:
    """Make the TLS files of a cluster: whoever has them may run trials on its hosts, and nobody else."""
    made = folder or tls_folder()
    make_files(made, datetime.datetime.now(datetime.UTC))
    files = f"--tls-ca-file {made / CA} --tls-cert {made / CERTIFICATE} --tls-key {made / KEY}"
    pages = "--dashboard-address 127.0.0.1:0"  # Dask's pages are plain HTTP, at the same address as the rest by default
    click.echo(f"made {made}; it is valid for 825 days. Copy it to every host, then:", err=True)
    click.echo(f"dask scheduler --protocol tls {pages} {files}")
    click.echo(f"dask worker tls://SCHEDULER:8786 --name NAME --nworkers 1 --nthreads SLOTS {pages} {files}")
    if folder is not None:
        click.echo(f"export {VARIABLE}={folder.resolve()}")


@hosts_group.command("script", epilog=_SCRIPT)
@click.argument("file", type=click.Path(path_type=Path))
def script_command(file: Path) -> None:
    """Print the job that SLURM will get for each host of FILE."""
    fleet, document = load_fleet(file)
    if fleet.slurm is None:
        raise ScenarioError([document.problem(("hosts",), "only hosts of SLURM have a script; give slurm")])
    click.echo(require_clusters().slurm_job(slurm_options(fleet, fleet.slurm), tls_files()), nl=False)
