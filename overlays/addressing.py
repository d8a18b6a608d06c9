"""What every adapter asks of a trial: its server, its members' overlay addresses, and that no option is ignored."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network

from harness.model.trial import Trial


def server_of(trial: Trial) -> str:
    """Return the public node that runs the overlay's server.

    Raises:
        ValueError: the topology has none.
    """
    if trial.topology.server is None:
        raise ValueError(f"{trial.overlay} needs a topology with a server")
    return trial.topology.server


def addresses_of(trial: Trial, network: IPv4Network) -> dict[str, IPv4Address]:
    """Overlay addresses: the server's is the first host of `network`, the members' follow in their order.

    Raises:
        ValueError: more nodes than `network` has addresses.
    """
    nodes = (server_of(trial), *(name for name in trial.topology.members if name != trial.topology.server))
    if len(nodes) > network.num_addresses - 2:
        raise ValueError(f"{trial.overlay}: {len(nodes)} nodes do not fit into {network}")
    return dict(zip(nodes, network.hosts(), strict=False))


def check_options(trial: Trial, known: Collection[str] = ()) -> None:
    """Refuse an option that the adapter would ignore.

    Raises:
        ValueError: naming it and the ones there are.
    """
    unknown = sorted(trial.options.keys() - set(known))
    if unknown:
        takes = f"the options {', '.join(sorted(known))}" if known else "no options"
        raise ValueError(f"{trial.overlay} takes {takes}, not {', '.join(unknown)}")
