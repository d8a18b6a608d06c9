"""What the README and the modules' tables say is what the code does: numbers, and a test for each claim on security."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from overlays.refmesh import config
from overlays.refmesh.core import (
    bulk,
    connectivity,
    coordination,
    handover,
    igd,
    introduction,
    keypair,
    lifetime,
    pace,
    path_mtu,
    portmap,
    probing,
    puncher,
    punching,
    ratelimit,
    server_link,
    session,
    switch,
    tunnel,
    upkeep,
)
from overlays.refmesh.core.peer import RETRY_S
from overlays.refmesh.driver import crowd, eagerness, listener, stream, streams, warmth
from overlays.refmesh.driver import igd as driver_igd
from overlays.refmesh.server import admission, registry
from overlays.refmesh.wire import control, messages

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent / "overlays/refmesh"
README = (ROOT / "README.md").read_text()
WORDS = {3: "three", 4: "four", 5: "five", 8: "eight"}
_PCP = [f"{at:g}" for at in itertools.accumulate((0.0, *portmap.RETRY_S[:-1]))]

SAID = [
    ("README.md", f"again after {RETRY_S[0]:g} s, and later where more than {WORDS[tunnel.CROWD]} are under way"),
    ("README.md", f"every {pace.PACE[0][1] * 1000:g} ms at first"),
    ("README.md", f"session up for {connectivity.RELAY_CHECK_AFTER_S:g} s and no direct path"),
    (
        "README.md",
        f"{WORDS[connectivity.LOST_AFTER]} checks unanswered; data unanswered for {connectivity.SILENCE_S:g} s",
    ),
    ("README.md", f"{WORDS[len(_PCP)]} requests, at {', '.join(_PCP[:-1])} and {_PCP[-1]} s"),
    ("README.md", f"no answer to those after {igd.AFTER_S:g} s"),
    (
        "README.md",
        f"after {punching.START_AFTER_S:g} s and {pace.PLAIN_TRIES} checks of each candidate, "
        f"{WORDS[puncher.MAX_ASKED]} peers at once, {WORDS[punching.ROUNDS]} rounds, "
        f"then every {punching.PAUSE_S / 60:g} min",
    ),
    ("README.md", f"| TLS | the server is silent over UDP | after {server_link.TLS_AFTER_S:g} s |"),
    (
        "README.md",
        f"at once, or after {streams.DEAD_S:g} s; tried again {server_link.TLS_RETRY_S:g} s later at most |",
    ),
    ("driver/streams.py", f"| connecting, handshake | {streams.DEAD_S:g} s | closed |"),
    ("driver/streams.py", f"over UDP or here, for {streams.DEAD_S:g} s | closed |"),
    ("driver/streams.py", f"is tried again within {server_link.TLS_RETRY_S:g} s of that"),
    ("driver/streams.py", f"tries are at least {server_link.TLS_RETRY_S:g} s apart"),
    ("README.md", f"| `interface`, `mtu` | `{config.NodeConfig.interface}`, {config.DEFAULT_MTU} |"),
    ("README.md", f"`listen` (`:{config.DEFAULT_PORT}`), `stun_port` ({config.DEFAULT_STUN_PORT})"),
    ("README.md", f"{coordination.WINDOW} on the way at a time"),
    ("README.md", f"wait {admission.WAIT_S:g} s for a handshake"),
    (
        "README.md",
        f"| {messages.INTRODUCTION} | introduction | ephemeral 32, sealed certificate n+16, mac1 16, mac2 16 |",
    ),
    ("README.md", f"{punching.MAX_SHOTS:,} datagrams in {WORDS[int(punching.PAUSE_S) // 60]} minutes for each peer"),
    (
        "README.md",
        f"{connectivity.UNPROVED_BURST} times and then {connectivity.UNPROVED_PER_S:g} times a second, 48 octets each: "
        f"N members send {48 * connectivity.UNPROVED_PER_S:g} N octets",
    ),
    ("README.md", f"make {registry.COPIES_PER_S:,g} copies a second of frames"),
    ("README.md", f"PING ({control.PING}) and PONG ({control.PONG}) check paths, HELLO ({control.HELLO})"),
    ("README.md", f"UPDATE ({control.UPDATE}) coordinate, PUNCH ({control.PUNCH}) arranges"),
    (
        "README.md",
        f"1 s; without traffic at the next HELLO, up to {coordination.HELLO_INTERVAL_S:g} s |",
    ),
    (
        "README.md",
        f"dead for more than {session.REKEY_ATTEMPT_S:g} s | | tried every {server_link.AWAY_RETRY_S:g} s "
        f"({upkeep.AWAY_RETRY_S:g} s) for ever |",
    ),
    ("README.md", f"packets of more than {probing.LARGE:,} octets go out"),
    ("README.md", f"a probe, every {path_mtu.CONFIRM_S:g} s;"),
    ("README.md", f"about 1 s; leases of {driver_igd.LEASE_S // 60} min |"),
    ("README.md", f"unanswered checks there lead the peer away first, {handover.CLOSE_AFTER_S:g} s |"),
    ("README.md", f"follow one another within {warmth.WINDOW_S * 1000:g} ms"),
    ("README.md", f"rehearsed every {warmth.EVERY_S * 1000:g} ms"),
    ("README.md", f"up to {eagerness.LIMIT_S * 1000:g} ms and a tenth of a core"),
    (
        "README.md",
        f"off for {crowd.REST_S:g} s wherever the node itself has to wait more than {crowd.LONG_S * 1000:g} ms",
    ),
    ("README.md", f"| {messages.INITIATION} to {messages.TRANSPORT} | WireGuard's |"),
    ("README.md", f"| {messages.RELAY} | relay | relay number u32"),
    ("README.md", f"| {messages.BULK} | bulk | receiver index u32, counter u64"),
    ("README.md", f"ETHERNET ({control.ETHERNET}) carries a frame"),
    ("README.md", f"| `listen_port` | {config.NodeConfig.listen_port}, any |"),
    ("README.md", f"| `fwmark` | {config.NodeConfig.fwmark}, none |"),
    ("core/server_link.py", f"again after {RETRY_S[0]:g} s, slower with time"),
    ("core/server_link.py", f"{WORDS[coordination.HELLO_LOST_AFTER]} HELLOs in a row unanswered"),
    ("core/connectivity.py", f"next one after {pace.PACE[0][1] * 1000:g} ms"),
    ("core/connectivity.py", f"no direct path {connectivity.RELAY_CHECK_AFTER_S:g} s after the session came up"),
    ("core/connectivity.py", f"{WORDS[connectivity.LOST_AFTER]} PINGs in a row unanswered"),
    ("core/punching.py", f"after {punching.START_AFTER_S:g} s and {pace.PLAIN_TRIES} checks"),
    ("core/punching.py", f"one side opens {punching.BIRTHDAY_SOCKETS} sockets"),
    ("core/punching.py", f"{punching.BIRTHDAY_TRIES} in all"),
    ("core/punching.py", f"a second and {punching.BIRTHDAY_TRIES}"),
    ("core/punching.py", f"or {punching.MEASURE_S:g} s are over"),
    ("core/punching.py", f"{punching.ROUND_S:g} s, or {punching.SETTLE_S:g} s after the last shot"),
    ("core/session.py", f"`current` older than {keypair.REKEY_AFTER_S:g} s"),
    ("core/igd.py", f"no answer for {igd.AFTER_S:g} s"),
    ("core/igd.py", f"again after {igd.REST_S / 60:g} minutes"),
    ("core/introduction.py", "mac1 16, mac2 16"),
    ("core/ratelimit.py", f"takes {ratelimit.PER_S:g} a second"),
    ("core/switch.py", f"source is new, and the member has {switch.MAX_OF_ONE}"),
    ("server/admission.py", f"| waiting | {admission.WAIT_S:g} s | unknown |"),
    ("driver/listener.py", f"{listener.MAX_STREAMS} at most; {listener.MAX_OF_ONE} from one address"),
    ("driver/listener.py", f"| {listener.STREAMS_PER_S:g} a second, {listener.STREAMS_BURST} at once"),
    (
        "driver/listener.py",
        f"{listener.STREAMS_OF_ONE_PER_S:g} a second, {listener.MAX_OF_ONE} at once from one address",
    ),
    ("driver/listener.py", f"handshake and session | {listener.STRANGER_S:g} s |"),
    ("driver/listener.py", f"without any datagram | {listener.IDLE_S:g} s"),
    ("driver/listener.py", f"not taking what is sent | {listener.STUCK_S:g} s |"),
]


@pytest.mark.parametrize(("file", "sentence"), SAID)
def test_numbers_in_tables_are_the_codes(file: str, sentence: str) -> None:
    text = " ".join((ROOT / file).read_text().split())
    assert " ".join(sentence.split()) in text


def test_the_other_numbers_of_the_session_are_wireguards() -> None:
    assert (session.REKEY_TIMEOUT_S, session.REKEY_ATTEMPT_S, session.KEEPALIVE_TIMEOUT_S) == (5.0, 90.0, 10.0)
    assert introduction.MIN_LEN == 4 + 32 + 16 + 16 + 16
    assert stream.ACKNOWLEDGED_MS == streams.DEAD_S * 1000
    assert lifetime.MAX_S > coordination.HELLO_INTERVAL_S  # else that would be how far apart HELLOs are
    assert bulk.META.size == 4 + 1 + 1 + 2


def test_figures_of_the_readme_are_of_as_many_rounds_as_the_command_that_is_printed() -> None:
    text = " ".join(README.split())
    told = re.findall(r"\((\w+) rounds [^()]*?`python -m [^`]* --rounds (\d+)`", text)
    assert [(word, WORDS[int(rounds)]) for word, rounds in told] == [("three", "three")]
    assert "bench.refmesh_processors`" not in text  # its default is another


def test_flags_of_control_frames_are_told_of_as_they_are() -> None:
    assert control.frame(control.PING, b"", control.READS_BULK)[1] == control.READS_BULK
    assert "reserved" not in (control.__doc__ or "")


def threat_model() -> list[list[str]]:
    part = README.partition("## Threat model")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows[1:]]


def test_every_claim_of_the_threat_model_has_a_test_that_exists() -> None:
    there = set()
    for path in TESTS.rglob("test_refmesh*.py"):
        there |= set(re.findall(r"^def (test_\w+)", path.read_text(), re.M))
    rows = threat_model()
    assert len(rows) >= 8
    for who, *cells in rows:
        assert len(cells) == 2, who
        for cell in cells:
            named = re.findall(r"`(test_\w+)`", cell)
            assert named, f"{who}: {cell} names no test"
            assert set(named) <= there, f"{who}: no such test: {set(named) - there}"


def test_the_fuzz_targets_that_the_readme_names_exist() -> None:
    part = README.partition("## Threat model")[2].partition("\n| who")[0]
    for name in re.findall(r"refmesh_\w+\.py", part):
        assert (TESTS / "fuzz" / name).exists(), name
    assert "make fuzz" in part
    assert re.search(r"^fuzz:", (TESTS.parent / "Makefile").read_text(), re.M)
