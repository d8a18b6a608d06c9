"""OpenZiti: services that are dialled by name through routers, over connections that both ends open to them.

Controller and router are one `ziti edge quickstart` on the public node. A member offers one service, which it alone may
host, and dials those of the others at local ports (`ziti tunnel host`, `ziti tunnel proxy`). `relay` is all there is:
routers carry everything, and do not see what, because the ends encrypt between themselves by default.

It is one program, built from the newest version that we found the module proxy to serve whole (1.1.15, October 2024).
A newer one of its makers' in PATH is taken instead: the commands are those that both have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.model.nat_words import Egress
from harness.model.trial import Trial
from harness.model.words import Mode, Verdict
from harness.overlay.contract import (
    ClaimSource,
    CommandSays,
    Deployment,
    EndpointKind,
    GoBuild,
    Layer,
    LogLine,
    Requirement,
    Service,
)
from overlays.addressing import check_options, server_of
from overlays.go_pins import pinned_version
from overlays.streams import SERVICE_PORT, listen_port, streams_between
from overlays.ways_out import by_tcp

PROGRAM = "ziti"
_MODULE = "github.com/openziti/ziti"
_FOLDER = Path(__file__).parent / "go" / "ziti"
CONTROLLER_PORT = 1280
ROUTER_PORT = 3022
# `quickstart` makes RSA keys of 4096 bits, for several authorities and nodes: a minute on a busy machine.
DEADLINE_S = 90.0
_LISTENING = "listener established to tls:"
# Whatever the program remembers (its certificates, who is logged in) stays in the node's folder.
_ENV = {"HOME": ".", "ZITI_CONFIG_DIR": "config"}


class OpenZiti:
    """Controller and router on the public node; on every member one process that hosts and one that dials."""

    name = "openziti"
    modes: frozenset[Mode] = frozenset({"relay"})
    layer: Layer = "L7"
    kinds: frozenset[EndpointKind] = frozenset({"stream"})
    needs_server = True

    def requirements(self) -> Sequence[Requirement]:
        """One program; the linker tells it its version, as in its makers' builds."""
        version = {f"{_MODULE}/common/version.Version": pinned_version(_FOLDER, _MODULE)}
        return (
            Requirement(
                program=PROGRAM,
                install=f"overlaybench install {self.name}",
                go=GoBuild(module=str(_FOLDER), package=f"{_MODULE}/ziti", strings=version, memory_mib=1100),
                version_argv=(PROGRAM, "version"),
            ),
        )

    def render(self, trial: Trial) -> Deployment:
        """Let the controller make everything else: identities, services, who may host and dial them.

        Raises:
            ValueError: an option; there is none.
        """
        check_options(trial)
        server, members = server_of(trial), trial.topology.members
        outer = str(trial.topology.address(server))
        return Deployment(
            services=(
                _controller(server, outer, members),
                *(_host(member, outer) for member in members),
                *(_proxy(member, members) for member in members),
            ),
            streams=streams_between(members),
            claims=tuple(ClaimSource(name=f"host-{m}", node=m, service=f"ziti-host-{m}") for m in members),
        )

    def technique(self, mode: Mode) -> str | None:  # noqa: ARG002 - the same in all
        """No path is ever direct."""
        return None

    def paths_behind(self, egress: Egress, trial: Trial) -> tuple[Verdict, ...]:
        """Return `relayed` where TCP may leave to any port: `quickstart` puts controller and router on two."""
        return by_tcp(egress, trial, ROUTER_PORT)

    def claimed_path(self, src: str, dst: str, evidence: Mapping[str, str]) -> Verdict | None:  # noqa: ARG002
        """Say `relayed`: a hosted service is reached through the router at which it is hosted, and in no other way."""
        return "relayed" if _LISTENING in evidence.get(f"host-{dst}", "") else None


def setup_script(outer: str, members: Sequence[str]) -> str:
    """Return what the controller is told once: an identity and a service a member, and that all may dial all.

    `-a member` gives an identity the attribute that the policies name; `-a EC` gives it a key that is
    made at once; an RSA key of 4096 bits, the default, takes seconds and changes nothing that is measured.
    """
    lines = ["set -e", _login(outer)]
    for member in members:
        host = f'{{"protocol":"tcp","address":"127.0.0.1","port":{SERVICE_PORT}}}'
        lines += [
            f"ziti edge create identity {member} -o {member}.jwt -a member",
            f"ziti edge enroll {member}.jwt -o ../{member}/identity.json -a EC",
            f"ziti edge create config host-{member} host.v1 '{host}'",
            f"ziti edge create service to-{member} --configs host-{member}",
            f"ziti edge create service-policy bind-{member} Bind --semantic AnyOf"
            f" --identity-roles @{member} --service-roles @to-{member}",
        ]
    lines += [
        "ziti edge create service-policy dial Dial --semantic AnyOf --identity-roles '#member' --service-roles '#all'",
        "ziti edge create edge-router-policy all --identity-roles '#all' --edge-router-roles '#all'",
        "ziti edge create service-edge-router-policy all --service-roles '#all' --edge-router-roles '#all'",
    ]
    return "\n".join(lines)


def _login(outer: str) -> str:
    return f"ziti edge login https://{outer}:{CONTROLLER_PORT} -u admin -p admin -y"


def _controller(server: str, outer: str, members: Sequence[str]) -> Service:
    """Ready once its router is online: a host that comes earlier gets no terminator, and is not found."""
    argv = (
        *(PROGRAM, "edge", "quickstart", "--home", "quickstart"),
        *("--ctrl-address", outer, "--ctrl-port", str(CONTROLLER_PORT)),
        *("--router-address", outer, "--router-port", str(ROUTER_PORT), "-u", "admin", "-p", "admin"),
    )
    # A readiness command is run without the service's environment, and is given up after ten seconds.
    asking = f"{_login(outer)} >/dev/null && ziti edge list edge-routers -j"
    environment = ("env", *(f"{name}={value}" for name, value in _ENV.items()), "timeout", "8")
    return Service(
        name="ziti-controller",
        node=server,
        argv=argv,
        env={**_ENV, "ZITI_CTRL_EDGE_IP_OVERRIDE": outer, "ZITI_ROUTER_IP_OVERRIDE": outer},
        ready=(CommandSays(argv=(*environment, "sh", "-c", asking), pattern=r'"isOnline":\s*true'),),
        configure=(
            ("mkdir", "-p", *(f"../{member}" for member in members)),
            ("sh", "-c", setup_script(outer, members)),
        ),
        deadline_s=DEADLINE_S,
    )


def _host(member: str, outer: str) -> Service:
    return Service(
        name=f"ziti-host-{member}",
        node=member,
        argv=(PROGRAM, "tunnel", "host", "-i", "identity.json", "-v"),
        env=_ENV,
        ready=(LogLine(pattern=rf"{_LISTENING}{outer}:{ROUTER_PORT}"),),
        after=("ziti-controller",),
        deadline_s=DEADLINE_S,
    )


def _proxy(member: str, members: Sequence[str]) -> Service:
    """Ready once it listens at every port."""
    ports = {other: listen_port(members, other) for other in members if other != member}
    return Service(
        name=f"ziti-proxy-{member}",
        node=member,
        argv=(PROGRAM, "tunnel", "proxy", "-i", "identity.json", *(f"to-{other}:{ports[other]}" for other in ports)),
        env=_ENV,
        ready=tuple(CommandSays(argv=("ss", "-Hltn", f"sport = :{port}"), pattern="LISTEN") for port in ports.values()),
        after=tuple(f"ziti-host-{other}" for other in members),
        deadline_s=DEADLINE_S,
    )
