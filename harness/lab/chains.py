"""Devices cut into as many nftables chains as the kernel's limit on one of them asks for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# linux/netfilter/nf_tables.h: NFT_NETDEVICE_MAX is 256.
DEVICES_A_CHAIN: Final = 200


def by_chain(names: Sequence[str]) -> list[Sequence[str]]:
    """Return the devices in their order, as many together as stand in one chain of the netdev family."""
    return [names[start : start + DEVICES_A_CHAIN] for start in range(0, len(names), DEVICES_A_CHAIN)]
