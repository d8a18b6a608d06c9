"""OpenZiti's pure half: its build, and what the controller is told."""

from __future__ import annotations

import re
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from harness.model.nat_words import Egress
from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.scenario.load import load_topology
from overlays.openziti import OpenZiti, setup_script

CONTROLLER, ROUTER = IPv4Address("45.45.0.10"), IPv4Address("45.45.0.11")


def trial() -> Trial:
    source = load_topology("parties")
    return Trial(
        id="t",
        scenario="s",
        repeat=1,
        seed=1,
        overlay="openziti",
        mode="relay",
        topology=source.resolve(source.complete({"n": 3})),
        probes=Probes.model_validate({"path": {}}),
    )


def test_each_service_is_hosted_by_its_member_alone_and_dialled_by_all() -> None:
    script = setup_script(CONTROLLER, ROUTER, ("a", "b"))
    assert re.findall(r"--identity-roles @(\w) --service-roles @to-(\w)", script) == [("a", "a"), ("b", "b")]
    assert "Dial --semantic AnyOf --identity-roles '#member' --service-roles '#all'" in script
    assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0


def test_hosts_wait_for_a_router_that_is_online_and_dialling_for_all_hosts() -> None:
    services = {service.name: service for service in OpenZiti().render(trial()).services}
    (online,) = services["ziti-router"].ready
    assert re.search(getattr(online, "pattern", ""), '{"isOnline": true}')
    assert services["ziti-router"].after == ("ziti-controller",)
    assert services["ziti-host-p1"].after == ("ziti-router",)
    assert set(services["ziti-proxy-p1"].after) == {"ziti-host-p1", "ziti-host-p2", "ziti-host-p3"}


def test_controller_and_router_are_each_on_443_of_an_address_of_its_own() -> None:
    deployment = OpenZiti().render(trial())
    services = {service.name: service for service in deployment.services}
    controller = services["ziti-controller"]
    own = str(trial().topology.address("s"))
    bound = {controller.env[name] for name in ("ZITI_CTRL_BIND_ADDRESS", "ZITI_CTRL_EDGE_BIND_ADDRESS")}
    assert bound == {own} and controller.argv[controller.argv.index("--ctrl-port") + 1] == "443"
    told = dict(word.split("=", 1) for word in controller.configure[1] if re.match(r"ZITI_\w+=", word))
    router = told["ZITI_ROUTER_ADVERTISED_ADDRESS"]
    assert router != own and told["ZITI_ROUTER_PORT"] == "443"
    assert f"address add {router}/" in " ".join(deployment.prepare[0].argv)
    (listening,) = services["ziti-host-p1"].ready
    assert re.search(getattr(listening, "pattern", ""), f"INFO listener established to tls:{router}:443")


def test_members_may_use_that_router_and_no_other() -> None:
    script = setup_script(CONTROLLER, ROUTER, ("a", "b"))
    roles = re.findall(r"create (?:service-)?edge-router-policy all .*--edge-router-roles (\S+)", script)
    assert roles == ["@edge", "@edge"]
    assert len(re.findall(r"delete (?:service-)?edge-router-policy", script)) == 2
    assert "s/tls:0\\.0\\.0\\.0:/tls:45.45.0.11:/" in script


@pytest.mark.parametrize("egress", [Egress.NO_UDP, Egress.TCP_443])
def test_tls_to_443_is_enough(egress: Egress) -> None:
    assert OpenZiti().paths_behind(egress, trial()) == ("relayed",)


def test_a_member_dials_the_others_at_the_ports_that_its_streams_name() -> None:
    deployment = OpenZiti().render(trial())
    for member in ("p1", "p2", "p3"):
        proxy = next(service for service in deployment.services if service.name == f"ziti-proxy-{member}")
        dialled = {tuple(word.removeprefix("to-").split(":")) for word in proxy.argv if word.startswith("to-")}
        assert dialled == {(one.dst, str(one.listen_port)) for one in deployment.streams if one.src == member}


def test_a_hosted_service_is_reached_through_the_router() -> None:
    said = {"host-b": "INFO listener established to tls:45.45.0.11:443"}
    assert OpenZiti().claimed_path("a", "b", said) == "relayed"
    assert OpenZiti().claimed_path("b", "a", said) is None


def test_the_program_knows_the_version_that_is_pinned() -> None:
    (program,) = OpenZiti().requirements()
    assert program.go is not None
    pinned = re.search(r"github\.com/openziti/ziti (v\S+)", (Path(program.go.module) / "go.mod").read_text())
    assert pinned is not None
    assert program.go.strings == {"github.com/openziti/ziti/common/version.Version": pinned.group(1)}
