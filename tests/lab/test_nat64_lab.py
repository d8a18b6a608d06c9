"""Routers that translate IPv6: what a host with IPv6 alone reaches, and routers that are not what they say."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.lab.nat_sandbox import each_in_sandbox, in_sandbox
from tests.lab.running import overlaybench

pytestmark = [
    pytest.mark.lab,
    pytest.mark.waits,
    pytest.mark.skipif(shutil.which("tayga") is None, reason="needs tayga: apt-get install -y tayga"),
]


def processes_in(network: str) -> list[str]:
    """Return the processes of the machine that are in a network namespace, by pid."""
    found = []
    for place in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            if str(place.readlink()) == network:
                found.append(place.parts[2])
        except OSError:
            continue  # it has ended meanwhile
    return found


def name_of(pid: str) -> str:
    """Return what a process is called; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_a_host_with_ipv6_alone_reaches_ipv4_by_name_and_no_translator_is_left(tmp_path: Path) -> None:
    commands = tmp_path / "commands"
    commands.write_text(
        "a ping -c 1 -W 2 s.lab\n"
        "a ping -c 1 -W 2 45.45.0.10\n"
        "b ping -c 1 -W 2 s.lab\n"
        "a getent hosts s.lab\n"
        "b getent hosts s.lab\n"
        "rc readlink /proc/self/ns/net\n"
    )
    done = overlaybench("shell", "ipv6-only", "--commands", str(commands))
    assert done.returncode == 0, done.stderr
    assert "1 packets transmitted, 1 received" in done.stdout
    answered = [line.split(",")[1].strip() for line in done.stdout.splitlines() if "packets transmitted" in line]
    assert answered == ["1 received", "1 received"], "IPv4 itself is no way for it: the second has none"
    names = [line.split()[0] for line in done.stdout.splitlines() if line.endswith("s s.lab")]
    assert names == ["64:ff9b::2d2d:a", "45.45.0.10"]
    (of_router,) = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("net:[")]
    # By name, too: a namespace that is gone gives its number to the next lab's.
    assert not [pid for pid in processes_in(of_router) if name_of(pid) == "tayga"], "the translator is left"
    assert processes_in(str(Path("/proc/self/ns/net").readlink())), "where somebody is, somebody is found"


TRANSLATORS: list[tuple[Any, Any, str, str]] = [
    ("nat64", "nat64", "EIM/ADF/random/nat64", ""),
    ({"alias": "nat64", "filtering": "EIF"}, "nat64", "EIM/EIF/random/nat64", "declared ADF, observed EIF"),
    ({"alias": "nat64", "mapping": "APDM"}, "nat64", "APDM/ADF/random/nat64", "declared EIM, observed APDM"),
    ("dual-stack", "nat64", "", "nat64: declared True, observed False"),
]


def test_a_trial_refuses_a_translator_that_is_not_what_it_says() -> None:
    found = each_in_sandbox(("checked_nat64_in_a_trial", actual, declared) for actual, declared, *_ in TRANSLATORS)
    for (actual, declared, label, wrong), said in zip(TRANSLATORS, found, strict=True):
        assert (said["label"], said["left"]) == (label, []), (actual, declared)
        assert said["refused"].endswith(wrong) and bool(said["refused"]) == bool(wrong), (actual, declared, said)


@pytest.mark.parametrize(
    ("nat", "program"),
    [("nat64", "tayga"), ({"alias": "full-cone", "port_mapping": ["nat-pmp", "pcp"]}, "miniupnpd")],
)
def test_a_router_says_which_of_its_programs_ended_by_itself_whatever_comes_after(nat: Any, program: str) -> None:
    said = in_sandbox("ended_daemon", nat, program)
    ended = said["killed"]
    assert len(ended) == 1 and ended[0].startswith(f"{program} ended (exit status -9): ")
    assert said == {"at first": [], "killed": ended, "rebooted": ended, "stopped": ended}


PREFIX = "2a0e:45:0:9::/64"
PREFIXES: list[tuple[Any, str]] = [
    ("dual-stack", "nptv6: declared 2a0e:45:0:9::/64, observed own"),
    ({"alias": "dual-stack", "nptv6": "2a0e:45:0:9::/64"}, ""),
    ({"alias": "dual-stack", "nptv6": "2a0e:45:0:8::/64"}, "ipv6: declared True, observed False"),
]


def test_a_trial_refuses_a_router_that_exchanges_another_prefix() -> None:
    declared = {"alias": "dual-stack", "nptv6": PREFIX}
    found = each_in_sandbox(("checked_ipv6_in_a_trial", actual, declared) for actual, _ in PREFIXES)
    for (actual, wrong), said in zip(PREFIXES, found, strict=True):
        assert said["refused"].endswith(wrong) and bool(said["refused"]) == bool(wrong), (actual, said)
