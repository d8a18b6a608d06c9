"""Which hosts of a pool take trials, and why others do not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_host import FACTS
from pool_runs import FakeMember, admission, answering, campaign, plan

from harness.errors import LabError, MissingPrerequisite
from harness.hosts import pool as pools
from harness.hosts.admission import Own, not_ours, remedies, unlike
from harness.hosts.admitting import Admitting
from harness.hosts.pool import Pool
from harness.hosts.station_member import MODULE, StationMember
from harness.hosts.station_messages import Install, Lacking, Question, Require
from harness.machine.describe import code_digest, standing
from harness.overlay.registry import load_overlay

APART = ("unshare", "--user", "--map-root-user", "--net", "true")


@pytest.fixture(autouse=True)
def same_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "harness_commit", lambda: FACTS.commit)
    monkeypatch.setattr(pools.platform, "python_version", lambda: None)


def test_hosts_that_differ_or_measure_wrong_take_no_trial(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    planned = plan(tmp_path, repeats=1)
    late = FakeMember("late")
    late.calibration = {"ok": False, "link": {"cases": 3, "wrong": "delay-10ms: delay_error_p99 is 9000 us"}}
    away = FakeMember("away")
    away.never_back = True
    members = [
        FakeMember("old", commit="aaa"),
        FakeMember("good", machine={"kernel": "5", "cpus": 64}),
        FakeMember("tools", tool_versions={"nft": "0.9"}),
        late,
        away,
    ]
    pool = Pool(members)
    campaign(tmp_path, planned, pool).run(planned.trials)
    account = pool.account()
    assert account["hosts_refused"] == {
        "old": "overlaybench there is at commit aaa, here at abc",
        "tools": "tool nft is 0.9, missing on good (apt-get install -y nftables)",
        "late": "its calibration failed: delay-10ms: delay_error_p99 is 9000 us",
        "away": "host away: no route to it",
    }
    assert [(one["name"], one["calibration"]["ok"]) for one in account["hosts"].values()] == [("good", True)]
    assert [bool(member.ran) for member in members] == [False, True, False, False, False]
    assert "host old takes no trial: overlaybench there is at commit aaa" in caplog.text
    with pytest.raises(MissingPrerequisite, match=r"a host that can take trials \(old: overlaybench there is at"):
        Pool([members[0]]).require(planned.trials, planned.overlays)


def test_a_bad_host_that_is_named_first_keeps_no_good_one_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan(tmp_path, repeats=1)
    members = [
        FakeMember("old", tool_versions={"nft": "0.9"}),
        FakeMember("bare", tool_versions={"nft": "0.8"}),
        *(FakeMember(name, tool_versions={"nft": "1.0"}) for name in ("one", "two")),
    ]

    async def lacking(one: FakeMember, question: Question) -> dict[str, Any] | None:
        if one.name == "bare" and isinstance(question, Require):
            raise MissingPrerequisite("/dev/net/tun", "modprobe tun")
        return None

    answering(monkeypatch, lacking)
    admitted, refused = admission(members, planned)
    assert admitted == ["one", "two"]
    assert refused == {
        "old": "tool nft is 0.9, 1.0 on one (apt-get install -y nftables)",
        "bare": "/dev/net/tun; to get it: modprobe tun",
    }


def test_a_first_host_that_measures_wrong_keeps_no_other_one_out(tmp_path: Path) -> None:
    planned = plan(tmp_path, repeats=1)
    late = FakeMember("late", tool_versions={"nft": "0.9"})
    late.calibration = {"ok": False, "link": {"cases": 3, "wrong": "delay-10ms: late"}}
    found = admission([late, FakeMember("one", tool_versions={"nft": "1.0"})], planned)
    assert found == (["one"], {"late": "its calibration failed: delay-10ms: late"})


@pytest.mark.parametrize("install", [True, False])
def test_a_host_that_lacks_a_program_gets_it_only_where_the_user_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, install: bool
) -> None:
    planned = plan(tmp_path, repeats=1)
    has = {"refmesh": "1"}
    members = [FakeMember("good", overlay_versions=has), *(FakeMember(name) for name in ("bare", "poor"))]
    asked: list[str] = []

    async def lacking(one: FakeMember, question: Question) -> dict[str, Any] | None:
        if isinstance(question, Lacking):
            return {} if one.facts.overlay_versions else {"refmesh": "it needs refmeshd: make it"}
        if isinstance(question, Install):
            asked.append(one.name)
            assert question.overlays == ["refmesh"]
            if one.name == "poor":
                return {"failed": {"refmeshd": "no go", "refmesh-tool": "no disk"}}
            one.facts = one.facts.model_copy(update={"overlay_versions": has})
            return {"failed": {}}
        if isinstance(question, Require) and not one.facts.overlay_versions:
            raise MissingPrerequisite("the program `refmeshd` (overlay refmesh)", "make it")
        return None

    answering(monkeypatch, lacking)
    admitted, refused = admission(members, planned, install=install)
    if install:
        said = "what it lacks could not be installed there (refmeshd: no go; refmesh-tool: no disk)"
        assert (admitted, refused) == (["good", "bare"], {"poor": said})
        assert "host bare lacks programs of refmesh, which are installed there" in caplog.text
    else:
        said = "the program `refmeshd` (overlay refmesh); to get it: make it"
        assert asked == [] and (admitted, refused) == (["good"], {"bare": said, "poor": said})


def test_a_machine_that_is_named_twice_is_one_host(tmp_path: Path) -> None:
    """By two entries of a file, or by workers of Dask's: each would take its loads for alone."""
    planned = plan(tmp_path, repeats=1)
    members = [FakeMember(name) for name in ("old", "rack1-0", "rack1-1", "rack2")]
    members[0].facts = members[0].facts.model_copy(update={"commit": "aaa"})
    for member, machine in zip(members, ("one", "one", "one", "two"), strict=True):
        member.standing = machine
    admitted, refused = admission(members, planned)
    assert admitted == ["rack1-0", "rack2"]
    assert refused == {
        "old": "overlaybench there is at commit aaa, here at abc",
        "rack1-1": "it is the same machine as rack1-0, which would be measured twice at once",
    }


@pytest.mark.parametrize("said", [["one"], {"one": 1}, 7])
def test_what_does_not_tell_where_a_host_stands_is_left_out(tmp_path: Path, said: Any) -> None:
    planned = plan(tmp_path, repeats=1)
    members = [FakeMember(name) for name in ("one", "two")]
    for member in members:
        member.standing = said
    assert admission(members, planned) == (["one", "two"], {})


def test_two_stations_of_a_machine_do_not_install_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where the first one cannot run the plan after all, the second one may."""
    planned = plan(tmp_path, repeats=1)
    members = [FakeMember(name) for name in ("a0", "b0", "a1", "a2", "b1")]
    for member in members:
        member.standing = member.name[0]
    at_once, installed, both = set[str](), list[str](), asyncio.Event()

    async def answered(one: FakeMember, question: Question) -> dict[str, Any] | None:
        if isinstance(question, Lacking):
            return {"refmesh": "it needs refmeshd"}
        if isinstance(question, Install):
            assert one.standing is not None and one.standing not in at_once
            at_once.add(one.standing)
            installed.append(one.name)
            if len(installed) == 2:
                both.set()
            await asyncio.wait_for(both.wait(), 60)  # machines do not wait for each other
            for _ in range(5):
                await asyncio.sleep(0)
            at_once.remove(one.standing)
            return {"failed": {"refmeshd": "no go"} if one.name == "a0" else {}}
        return None

    answering(monkeypatch, answered)
    admitted, refused = admission(members, planned, install=True)
    assert installed == ["a0", "b0", "a1"] and admitted == ["a1", "b0"]
    assert refused == {
        "a0": "what it lacks could not be installed there (refmeshd: no go)",
        "a2": "it is the same machine as a1, which would be measured twice at once",
        "b1": "it is the same machine as b0, which would be measured twice at once",
    }


def test_an_admission_that_fails_half_way_leaves_no_host_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned, open_it = plan(tmp_path, repeats=1), FakeMember.open
    members = [FakeMember(name) for name in ("open", "faulty", "late")]
    asked = asyncio.Event()

    async def opened(one: FakeMember) -> None:
        if one.name == "late":
            await asked.wait()
            for _ in range(5):
                await asyncio.sleep(0)
        await open_it(one)

    async def answered(one: FakeMember, _question: Question) -> None:
        if one.name == "faulty":
            asked.set()
            raise RuntimeError("a fault of the program")

    monkeypatch.setattr(FakeMember, "open", opened)
    answering(monkeypatch, answered)

    async def go() -> list[bool]:
        with pytest.raises(RuntimeError):
            await Admitting(Own("abc", None, ""), planned.overlays).admit(members, [])
        for _ in range(20):
            await asyncio.sleep(0)
        return [member.is_open for member in members]

    assert asyncio.run(go()) == [False] * 3


def test_stations_know_that_they_share_a_machine() -> None:
    async def told(*argv: str) -> str | None:
        admitting = Admitting(Own(None, None, ""), {})
        member = StationMember("one", 1, (*argv, sys.executable, "-m", MODULE), "x")
        try:
            await member.open()
            await admitting.facts_of(member)
            return admitting._standing["one"]
        finally:
            await member.close()

    first, second = asyncio.run(told()), asyncio.run(told())
    assert first is not None and first == second == standing()
    if subprocess.run(APART, capture_output=True, check=False).returncode == 0:
        assert asyncio.run(told(*APART[:-1])) not in (None, first), "namespaces may stand for machines"


def test_local_changes_are_taken_only_where_they_are_the_same() -> None:
    own = Own("abc+changes", "digest", "3.11.2")
    changed = FACTS.model_copy(update={"commit": "abc+changes", "machine": {"python": "3.11.2"}})
    assert not_ours(changed.model_copy(update={"code": "digest"}), own) == []
    assert "other local changes" in not_ours(changed.model_copy(update={"code": "other"}), own)[0]
    assert "Python there is 3.12.0, here 3.11.2" in not_ours(
        changed.model_copy(update={"code": "digest", "machine": {"python": "3.12.0"}}), own
    )
    first = FACTS.model_copy(update={"name": "first", "overlay_versions": {"tinc": "1.0"}, "link_backend": "netem"})
    commands = remedies({name: load_overlay(name) for name in ("tinc", "nebula")})
    other = {"privileged": False, "tool_versions": {"nebula-cert": "1", "iproute2": "6", "own": "1"}}
    assert unlike(FACTS.model_copy(update=other), first, commands) == [
        "tool iproute2 is 6, missing on first (apt-get install -y iproute2)",
        "tool nebula-cert is 1, missing on first (apt-get install -y nebula)",
        "tool own is 1, missing on first",
        "overlay tinc is missing, 1.0 on first (apt-get install -y tinc)",
        "links are carried by None, by netem on first",
        "it runs as an ordinary user, first as root",
    ]


def test_a_digest_is_taken_where_the_commit_does_not_tell() -> None:
    assert code_digest("abc") is None
    assert code_digest(None) == code_digest("abc+changes") != code_digest("abc")


@pytest.mark.parametrize("install", [True, False])
def test_what_no_host_has_is_skipped_only_where_it_is_not_to_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: bool
) -> None:
    """A rack of equal bare hosts skipped what `install: true` was to build there."""

    async def lacking(_one: FakeMember, question: Question) -> dict[str, Any] | None:
        assert isinstance(question, Lacking)
        return {} if question.out_of_reach else {"refmesh": "it needs refmeshd"}

    answering(monkeypatch, lacking)
    pool = Pool([FakeMember("one"), FakeMember("two")], install=install)
    skipped = {} if install else {"refmesh": "it needs refmeshd"}
    assert pool.lacking(plan(tmp_path, repeats=1).overlays) == skipped


def test_who_was_passed_over_for_one_that_is_refused_is_told_so(tmp_path: Path) -> None:
    planned = plan(tmp_path, repeats=1)
    members = [FakeMember("rack1-0"), FakeMember("rack1-1"), FakeMember("good")]
    members[0].calibration = {"ok": False, "link": {"cases": 3, "wrong": "delay-10ms: late"}}
    members[0].standing = members[1].standing = "one"
    admitted, refused = admission(members, planned)
    assert admitted == ["good"]
    assert refused["rack1-1"] == "it is the same machine as rack1-0, which was asked in its place and is refused"


def test_a_host_that_does_not_understand_the_first_question_may_be_at_another_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def older(one: FakeMember, _question: Question) -> dict[str, Any] | None:
        if one.name == "old":
            raise LabError("not understood: extra inputs are not permitted")
        return None

    answering(monkeypatch, older)
    admitted, refused = admission([FakeMember("old"), FakeMember("good")], plan(tmp_path, repeats=1))
    assert admitted == ["good"]
    assert "a host at another commit than abc may not (not understood" in refused["old"]
