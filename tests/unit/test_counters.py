"""The rules that count packets on bridges: the kernel takes no more than 256 devices a chain. Pure."""

from __future__ import annotations

import re

from harness.lab.chains import DEVICES_A_CHAIN
from harness.lab.counters import _blocks


def test_every_port_of_a_large_segment_stands_in_one_chain_of_few() -> None:
    names = [f"s1-eth{number}" for number in range(1, 601)]
    text = "".join(_blocks("lan", names))
    chains = [re.findall(r"s1-eth\d+", one) for one in re.findall(r"devices = \{([^}]*)\}", text)]
    assert [len(one) for one in chains] == [DEVICES_A_CHAIN] * 3
    assert sorted(port for one in chains for port in one) == sorted(names)
    assert text.count("set lan.v4") == 1
