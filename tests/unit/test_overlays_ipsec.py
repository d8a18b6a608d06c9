"""IPsec's pure half: names of nodes in strongSwan's configuration, where a dot parts sections."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.model.words import Mode
from harness.topology.mininet_class import MininetSource
from overlays.ipsec import Ipsec

ZOO = str(Path(__file__).parents[1] / "lab")


def trial_of(mode: Mode) -> Trial:
    source = MininetSource("mininet_names:Dotted", (), "h2", ZOO)
    return Trial(
        id="t",
        scenario="s",
        repeat=1,
        seed=1,
        overlay="ipsec",
        mode=mode,
        topology=source.resolve({}),
        probes=Probes.model_validate({"path": {}}),
    )


@pytest.mark.parametrize("mode", ["hub", "direct"])
def test_no_section_has_a_dot_in_its_name(mode: Mode) -> None:
    files = {file.node: file.text for file in Ipsec().render(trial_of(mode)).files if file.path == "swanctl.conf"}
    assert files.keys() == {"h.1", "h.3", "h2"}
    sections = [name for text in files.values() for name in re.findall(r"^\s+([\w.~-]+) \{", text, re.MULTILINE)]
    assert any("h~1" in name for name in sections)
    assert [name for name in sections if "." in name] == []


def test_the_claim_is_read_by_that_name() -> None:
    said = "to-h~3: #2, ESTABLISHED, IKEv2\n"
    assert Ipsec().claimed_path("h.1", "h.3", {"sas-h.1": said}) == "direct"
    assert Ipsec().claimed_path("h.1", "hx3", {"sas-h.1": said}) == "none"
