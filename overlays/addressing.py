"""What every adapter asks of a trial: its server, its members' overlay addresses, and that no option is ignored."""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

from pydantic import ValidationError

from harness.model.trial import Trial
from harness.overlay.contract import OverlayOptions

Options = TypeVar("Options", bound=OverlayOptions)
# linux/if.h: IFNAMSIZ, less the end of the text.
_LONGEST_DEVICE = 15


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


def device(prefix: str, node: str) -> str:
    """Return the name of a node's overlay interface, unique in the lab and not longer than the kernel takes."""
    name = f"{prefix}-{node}"
    if len(name) <= _LONGEST_DEVICE:
        return name
    digest = hashlib.sha256(node.encode()).hexdigest()
    return f"{prefix}-{digest[: _LONGEST_DEVICE - len(prefix) - 1]}"


def check_options(trial: Trial) -> None:
    """Refuse every option, for an overlay that takes none.

    Raises:
        ValueError: naming them.
    """
    if trial.options:
        raise ValueError(f"{trial.overlay} takes no options, not {', '.join(sorted(trial.options))}")


def options_of(trial: Trial, model: type[Options]) -> Options:
    """Return the trial's options as the overlay's model has them.

    Raises:
        ValueError: naming each that is unknown or wrong, and the ones there are.
    """
    try:
        return model.model_validate(trial.options)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}, not {one['input']!r}" for one in error.errors()
        )
        raise ValueError(
            f"{trial.overlay} takes the options {', '.join(sorted(model.model_fields))}: {wrong}"
        ) from None
