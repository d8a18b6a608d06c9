"""Events that change who reaches whom, in real labs: what they do, and what undoing does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.event_runs import ALIKE, Run
from tests.lab.running import overlaybench

pytestmark = [pytest.mark.lab, pytest.mark.waits]


def test_who_roams_is_reached_again_in_the_other_network_and_at_home(tmp_path: Path) -> None:
    run = Run(
        *(tmp_path, "refmesh: mesh", "{at_s: 1, do: move, to: a, into: rm, for_s: 9}"),
        topology="roaming",
        params=ALIKE.replace("}", ", nat_m: port-restricted}"),
        duration_s=20,
    )
    assert [one["undone"] for one in run.happened] == [False, True]
    assert run.path("before move a") == "direct" and run.path("after the end of move a") == "direct"
    away_s = run.value("event_recovery_s", "after move a")
    assert away_s is not None and away_s < 9, "found again before it went home"
    assert run.value("event_path_recovery_s", "after the end of move a") is not None


def test_a_host_without_an_overlay_is_not_reached_by_its_old_address(tmp_path: Path) -> None:
    run = Run(tmp_path, "underlay: ", "{at_s: 1, do: renew_ip, to: b, for_s: 3}", duration_s=9)
    whole_s, back_s = run.value("continuity_longest_gap_s", None), run.value("event_recovery_s", "after renew_ip b")
    assert run.value("event_gap_s", "after renew_ip b") is None, "not over when the address came back"
    assert back_s is None, "nor did anything else bring it back"
    assert run.value("event_recovery_s", "after the end of renew_ip b") is not None
    assert whole_s is not None and whole_s > 2.5
    assert run.path("after renew_ip b") == "none" and run.path("after the end of renew_ip b") == "direct"


def test_a_spare_line_carries_on(tmp_path: Path) -> None:
    run = Run(
        *(tmp_path, "refmesh: mesh", "{at_s: 1, do: switch_uplink, to: a, via: ra2, for_s: 9}"),
        topology="two-uplinks",
        params=ALIKE.replace("}", ", nat_a2: port-restricted}"),
        duration_s=18,
    )
    away_s = run.value("event_recovery_s", "after switch_uplink a")
    assert away_s is not None and away_s < 9
    assert run.value("event_recovery_s", "after the end of switch_uplink a") is not None


def test_parted_members_go_by_the_relay_and_meet_again(tmp_path: Path) -> None:
    run = Run(tmp_path, "refmesh: mesh", "{at_s: 1, do: partition, to: a, away_from: b, for_s: 12}", duration_s=24)
    assert run.path("before partition a") == "direct"
    assert run.path("after partition a") == "relayed", "both still reach the server"
    assert run.value("event_path_recovery_s", "after the end of partition a") is not None, "direct again"


@pytest.mark.parametrize("policy", ["deny: udp", "captive_portal: true"])
def test_a_stricter_network_stops_what_it_forbids(tmp_path: Path, policy: str) -> None:
    item = f"{{at_s: 1, do: firewall, to: ra, {policy}, for_s: 3}}"
    run = Run(tmp_path, "nebula: mesh", item, duration_s=14)
    assert run.value("event_gap_s", "after firewall ra") is None, "not over when the policy was"
    gap_s = run.value("continuity_longest_gap_s", None)
    assert gap_s is not None and gap_s > 2.5
    assert run.value("event_recovery_s", "after the end of firewall ra") is not None


def test_what_is_allowed_passes(tmp_path: Path) -> None:
    run = Run(tmp_path, "nebula: mesh", "{at_s: 1, do: firewall, to: ra, allow: udp, for_s: 3}", duration_s=5)
    assert run.value("continuity_answered_ratio", None) == 1.0


def test_services_stop_and_start_again(tmp_path: Path) -> None:
    run = Run(
        tmp_path,
        *("openvpn: hub", "{at_s: 1, do: stop, to: s, for_s: 2}", "{at_s: 25, do: restart, to: a}"),
        duration_s=40,
    )
    assert run.value("event_gap_s", "after stop s") is None, "not over when it ran again"
    gap_s = run.value("continuity_longest_gap_s", None)
    assert gap_s is not None and gap_s > 1.5
    assert run.value("event_recovery_s", "after the end of stop s") is not None
    assert run.value("event_recovery_s", "after restart a") is not None


def test_a_member_joins_and_leaves_a_running_overlay(tmp_path: Path) -> None:
    run = Run(
        tmp_path,
        *("refmesh: mesh", "{at_s: 2, do: add_member, to: p3}", "{at_s: 15, do: remove_member, to: p1, for_s: 3}"),
        topology="parties",
        params="{n: 3, nat: port-restricted, link: fibre}",
        duration_s=30,
    )
    # What was sent to it before may be held back, and answered once it is there.
    assert run.path("before add_member p3", "p1-p3") == "none"
    assert run.value("phase_answered_ratio", "before add_member p3", "p1-p2") == 1
    joined_s = run.value("event_recovery_s", "after add_member p3", "p1-p3")
    assert joined_s is not None and joined_s < 13
    assert run.value("event_gap_s", "after remove_member p1", "p1-p2") is None, "not over when it was back"
    gone_s = run.value("continuity_longest_gap_s", None, "p1-p2")
    assert gone_s is not None and gone_s > 2.5
    assert run.value("event_recovery_s", "after the end of remove_member p1", "p1-p2") is not None


def test_streams_are_watched_as_well(tmp_path: Path) -> None:
    run = Run(tmp_path, "frp: hub", "{at_s: 2, do: kill, to: s, for_s: 4}", duration_s=30)
    assert run.value("event_gap_s", "after kill s") is None, "not over when it was alive again"
    gap_s = run.value("continuity_longest_gap_s", None)
    assert gap_s is not None and gap_s > 3
    assert run.value("event_recovery_s", "after the end of kill s") is not None
    assert run.value("tcp_survives", None) == 0.0, "its two legs were joined on the server"


def test_what_waits_for_a_direct_path_happens_once_it_is_there(tmp_path: Path) -> None:
    run = Run(tmp_path, "nebula: direct", "{after: direct, do: link_down, to: ra, for_s: 1}", duration_s=8)
    assert [one["do"] for one in run.happened] == ["link_down", "link_down"]
    at_s = run.value("event_at_s", "after link_down ra")
    assert at_s is not None and 0 <= at_s < 5


def test_nodes_know_each_other_by_name(tmp_path: Path) -> None:
    commands = tmp_path / "commands"
    commands.write_text("a getent hosts s.lab\nb ping -c 1 -W 2 s\n")
    before = Path("/etc/hosts").read_text()
    done = overlaybench("shell", "two-sites", "--commands", str(commands))
    assert "45.45.0.10" in done.stdout and "1 received" in done.stdout, done.stdout + done.stderr
    assert Path("/etc/hosts").read_text() == before


def test_all_pairs_of_three_are_watched(tmp_path: Path) -> None:
    run = Run(
        *(tmp_path, "nebula: direct", "{at_s: 1, do: reboot, to: r3}"),
        topology="parties",
        params="{n: 3, nat: port-restricted, link: fibre}",
        # Behind a router that has forgotten its mappings a member is heard again once it sends: by then Nebula punches.
        duration_s=25,
    )
    for pair in ("p1-p2", "p1-p3", "p2-p3"):
        assert run.value("tcp_survives", None, pair) == 1.0 and run.path("before reboot r3", pair) == "direct"
    assert len([line for line in run.lines if line["metric"] == "event_at_s"]) == 1, "it happened once to all"


@pytest.mark.parametrize(
    ("first", "meanwhile"),
    [
        ("sleep, to: a", "switch_uplink, to: a, via: ra2"),
        ("sleep, to: a", "renew_ip, to: a"),
        ("link_down, to: a", "move, to: a, into: lan_b"),
        ("link_down, to: a", "sleep, to: a"),
        ("link_down, to: ra", "change_address, to: ra, addresses: [45.45.1.9]"),
    ],
)
def test_what_happens_to_a_node_whose_interface_is_down_holds_when_it_comes_up(
    tmp_path: Path, first: str, meanwhile: str
) -> None:
    """On a busy machine events come late, and one begins before another is over."""
    run = Run(
        *(tmp_path, "underlay: "),
        *(f"{{at_s: 1, do: {first}, for_s: 2}}", f"{{at_s: 2, do: {meanwhile}, for_s: 2}}"),
        topology="two-uplinks",
        params=ALIKE.replace("}", ", nat_a2: port-restricted}"),
        duration_s=7,
    )
    assert [one["undone"] for one in run.happened] == [False, False, True, True]
    last = run.happened[-1]
    assert run.path(f"after the end of {last['do']} {last['to']}") == "direct"
