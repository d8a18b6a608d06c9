"""The contract test finds what is broken, and names it: the rendering's half, and what was seen in a lab."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.conformance.judge import complaints
from harness.conformance.rendering import rendering_complaints, requirement_complaints
from harness.model.trial import Trial
from harness.model.words import Mode
from harness.overlay.contract import (
    ClaimSource,
    Deployment,
    EndpointKind,
    File,
    IpEndpoint,
    Layer,
    LogLine,
    Requirement,
    Service,
    StreamEndpoint,
)


class Tame:
    """An adapter that keeps the contract, until `spoil` makes something else of its deployment."""

    name = "tame"
    modes: frozenset[Mode] = frozenset({"hub", "mesh"})
    layer: Layer = "L3"
    needs_server = True
    kinds: frozenset[EndpointKind] = frozenset({"interface"})

    def __init__(self, spoil: Callable[[Deployment], Deployment] = lambda deployment: deployment) -> None:
        self._spoil = spoil

    def requirements(self) -> Sequence[Requirement]:
        return (Requirement(program="tame", install="apt-get install tame", debian="tame", version_argv=("tame",)),)

    def render(self, trial: Trial) -> Deployment:
        if trial.options:
            raise ValueError(f"no options, not {', '.join(trial.options)}")
        members = trial.topology.members
        ready = (LogLine(pattern="ready"),)
        deployment = Deployment(
            files=tuple(File(node=one, path="conf", text="x") for one in members),
            services=tuple(Service(name=f"tame-{one}", node=one, argv=("tame",), ready=ready) for one in members),
            endpoints={
                one: IpEndpoint.model_validate({"address": f"10.9.0.{n}", "interface": "tame0"})
                for n, one in enumerate(members, 1)
            },
        )
        return self._spoil(deployment)


KILLED_IN_LABS = """
import sys, time
import harness.commands.contract as contract
from harness.cli import cli

def examine(overlay, mode, folder, *, cache, **_):
    (folder / "made").write_text("x")
    print(mode, cache, (cache / "overlaybench/programs/tool").read_text(), flush=True)
    if mode == "relay":
        time.sleep(60)
    return []

contract.examine, contract._require = examine, lambda _: None
cli.main(["contract", "refmesh", "--mode", "mesh", "--mode", "relay"])
"""


def test_a_contract_test_that_is_killed_leaves_nothing_and_copies_programs_once(tmp_path: Path) -> None:
    tool = tmp_path / "home" / "overlaybench" / "programs" / "tool"
    tool.parent.mkdir(parents=True)
    tool.write_text("a-program")
    environment = {**os.environ, "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "home")}
    argv = [sys.executable, "-c", KILLED_IN_LABS]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().split() for _ in range(3)]
        process.kill()
    seen = [words for words in said if words[0] in {"mesh", "relay"}]
    assert [(mode, text) for mode, _, text in seen] == [("mesh", "a-program"), ("relay", "a-program")]
    assert seen[0][1] == seen[1][1] and seen[0][1].startswith(str(tmp_path))
    deadline = time.monotonic() + 20
    while len(list(tmp_path.iterdir())) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)  # what removes it ends after it
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def with_services(*services: Service) -> Callable[[Deployment], Deployment]:
    return lambda deployment: deployment.model_copy(update={"services": services})


def with_first_file(**changes: Any) -> Callable[[Deployment], Deployment]:
    def change(deployment: Deployment) -> Deployment:
        first, *others = deployment.files
        return deployment.model_copy(update={"files": (first.model_copy(update=changes), *others)})

    return change


def with_endpoints(change: Callable[[dict[str, IpEndpoint]], dict[str, IpEndpoint]]) -> Callable[..., Deployment]:
    return lambda deployment: deployment.model_copy(update={"endpoints": change(deployment.endpoints)})


def service(name: str = "one", node: str = "p1", after: tuple[str, ...] = (), ready: bool = True) -> Service:
    conditions = (LogLine(pattern="x"),) if ready else ()
    return Service(name=name, node=node, argv=("x",), ready=conditions, after=after)


STREAM = StreamEndpoint(src="p1", dst="p2", listen_port=7000, service_port=7400)
SPOILT: list[tuple[Callable[..., Deployment], str]] = [
    (with_endpoints(lambda _: {}), "offers nothing where it says interface"),
    (with_endpoints(lambda ends: dict(list(ends.items())[1:])), "where the members are p1, p2"),
    (with_endpoints(lambda ends: dict.fromkeys(ends, ends["p1"])), "one overlay address to several members"),
    (
        with_endpoints(lambda ends: ends | {"p1": ends["p1"].model_copy(update={"interface": "x" * 16})}),
        "names p1's interface xxxxxxxxxxxxxxxx: the kernel takes 15 characters",
    ),
    (lambda d: d.model_copy(update={"streams": (STREAM, STREAM)}), "begins several streams of p1 at 127.0.0.1:7000"),
    (lambda d: d.model_copy(update={"streams": (STREAM,)}), "has no streams for exactly every ordered pair"),
    (with_first_file(node="p2"), "writes p2's file conf more than once"),
    (with_first_file(node="nobody"), "writes a file for nobody, which is no node"),
    (with_first_file(path="../conf"), "writes ../conf, which lies outside"),
    (with_first_file(path="/etc/conf"), "writes /etc/conf, which lies outside"),
    (with_first_file(text="-----BEGIN PRIVATE KEY-----", mode=0o644), "so that others can read it"),
    (with_services(service(), service()), "has several services named one"),
    (with_services(service(after=("two",))), "service one waits for two, which there is not: two"),
    (with_services(service(after=("two",)), service("two", after=("one",))), "and these wait for each other"),
    (with_services(service(ready=False)), "service one has no condition of readiness"),
    (with_services(service(node="nowhere")), "runs on nowhere, which is no node"),
    (
        lambda d: d.model_copy(update={"claims": (ClaimSource(name="c", node="p1", service="gone"),)}),
        "claim c is read from service gone, which there is not",
    ),
]


def test_an_adapter_that_keeps_the_contract_is_not_complained_of() -> None:
    assert [rendering_complaints(Tame(), mode) for mode in ("hub", "mesh")] == [[], []]
    assert requirement_complaints(Tame()) == []


@pytest.mark.parametrize(("spoil", "said"), SPOILT, ids=[said for _, said in SPOILT])
def test_what_a_rendering_breaks_is_named(spoil: Callable[[Deployment], Deployment], said: str) -> None:
    assert any(said in one for one in rendering_complaints(Tame(spoil), "hub")), rendering_complaints(
        Tame(spoil), "hub"
    )


@pytest.mark.parametrize(
    ("refuse", "said"),
    [
        (lambda _: None, "ignores an unknown option"),
        (lambda trial: int("x") if trial.options else None, "without naming it"),
        (lambda trial: {}["x"] if trial.options else None, "raise KeyError instead of ValueError"),
        (lambda _: {}["x"], "`render` raises KeyError"),
    ],
)
def test_options_are_refused_by_name(refuse: Callable[[Trial], object], said: str) -> None:
    class Odd(Tame):
        def render(self, trial: Trial) -> Deployment:
            refuse(trial)
            return super().render(trial.model_copy(update={"options": {}}))

    (one,) = rendering_complaints(Odd(), "hub")
    assert said in one


def test_requirements_name_the_package_and_ask_the_first_program_for_its_version() -> None:
    class Vague(Tame):
        def requirements(self) -> Sequence[Requirement]:
            return (Requirement(program="tame", install="get it", debian="tame"),)

    package, version = requirement_complaints(Vague())
    assert "does not name tame" in package and "no `version_argv`" in version


GOOD: dict[str, Any] = {
    "kinds": ["interface"],
    "helpers": [],
    "connect_success": 1.0,
    "answered_back": 1.0,
    "bulk_intact": True,
    "path": "direct",
    "path_after_bulk": "direct",
    "neighbours": 0,
    "multicast": False,
    "answered_without_server": 1.0,
    "path_without_server": "direct",
    "claims": {},
    "outside": [],
    "statuses": {"tame-a": ["a", 0], "tame-s": ["s", -9], "tame-b": ["b", -9]},
    "outlasted": {"tame-b": "3.0 s after SIGTERM: tame S futex"},
    "may_hang": ["tame-b"],
}


def test_a_deployment_that_keeps_the_contract_is_not_complained_of() -> None:
    assert complaints(GOOD, Tame(), "mesh") == []


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"connect_success": 0.0}, "are not answered"),
        ({"answered_back": 0.5}, "50%"),
        ({"bulk_intact": False}, "do not arrive intact"),
        ({"path": "relayed"}, "mode mesh promises a path that is direct; that of pings is relayed"),
        ({"path_after_bulk": "none"}, "that of pings after 10 MB is none"),
        ({"neighbours": 2}, "carries ARP, but says that it is L3"),
        ({"answered_without_server": 0.0}, "does not outlive the server"),
        ({"path_without_server": "relayed"}, "does not outlive the server"),
        ({"outside": ["10.9.0.1 > 8.8.8.8"]}, "10.9.0.1 > 8.8.8.8"),
        ({"statuses": {"tame-a": ["a", -9]}}, "tame-a did not end within 3 s of SIGTERM: something else killed it"),
        ({"outlasted": {}}, "tame-b did not end within 3 s of SIGTERM: something else killed it"),
        ({"may_hang": []}, "tame-b did not end within 3 s of SIGTERM: 3.0 s after SIGTERM: tame S futex"),
        ({"error": "it died"}, "it died"),
    ],
)
def test_what_was_seen_and_breaks_the_contract_is_named(seen: dict[str, Any], said: str) -> None:
    (one,) = complaints({**GOOD, **seen}, Tame(), "mesh")
    assert said in one


def test_l2_carries_what_l2_carries() -> None:
    class Switch(Tame):
        layer: Layer = "L2"

    assert [one for one in complaints(GOOD, Switch(), "mesh") if "carries no" in one] == [
        "says that it is L2, but carries no ARP",
        "says that it is L2, but carries no multicast",
    ]
