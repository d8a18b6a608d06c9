"""NetBird's adapter and the administrator's part, which is run against a server that answers as NetBird's does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from overlays.netbird import admin
from overlays.netbird.adapter import NetBird
from tests.unit.test_overlays import trial_of


class Management(BaseHTTPRequestHandler):
    """The calls that are made, in the shape of the management API."""

    calls: ClassVar[list[tuple[str, str, Any, str | None]]] = []
    answers: ClassVar[dict[str, Any]] = {
        "POST /api/setup": {"personal_access_token": "nbp_x"},
        "GET /api/accounts": [{"id": "acc", "settings": {"peer_login_expiration_enabled": True}}],
        "PUT /api/accounts/acc": {},
        "POST /api/setup-keys": {"key": "K"},
        "GET /api/peers": [
            {"id": name, "hostname": name, "ssh_enabled": False, "ip": "100.64.1.1"}
            | {"login_expiration_enabled": True, "inactivity_expiration_enabled": False}
            for name in ("a", "b")
        ],
        "PUT /api/peers/b": {},
    }

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.calls.append((self.command, self.path, body, self.headers.get("Authorization")))
        text = json.dumps(self.answers[f"{self.command} {self.path}"]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815  # the library's names

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Management.calls.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Management)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_setup_keeps_the_accounts_settings_and_its_secrets_to_itself(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    admin.setup(url, "10.16.0.0/16")
    assert ((tmp_path / "owner.token").read_text(), (tmp_path / "members.key").read_text()) == ("nbp_x", "K")
    assert (tmp_path / "owner.token").stat().st_mode & 0o077 == 0
    (change,) = (body for method, path, body, _ in Management.calls if path == "/api/accounts/acc" and method == "PUT")
    assert change["settings"] == {"peer_login_expiration_enabled": True, "network_range": "10.16.0.0/16"}
    assert {token for _, path, _, token in Management.calls if path != "/api/setup"} == {"Token nbp_x"}


def test_a_member_is_found_by_its_name(url: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("nbp_x")
    admin.address(url, str(tmp_path / "token"), "b", "10.16.0.3")
    method, path, body, _ = Management.calls[-1]
    assert (method, path) == ("PUT", "/api/peers/b")
    assert (body["name"], body["ip"], body["login_expiration_enabled"]) == ("b", "10.16.0.3", True)


def test_relay_is_forced_on_members_alone() -> None:
    services = NetBird().render(trial_of("netbird", "relay")).services
    assert {one.name: one.env.get("NB_FORCE_RELAY") for one in services} == {
        "netbird-server": None,
        "netbird-a": "true",
        "netbird-b": "true",
        "up-a": None,
        "up-b": None,
    }


@pytest.mark.parametrize(("kind", "claim"), [("P2P", "direct"), ("Relayed", "relayed"), ("-", None)])
def test_claims(kind: str, claim: str | None) -> None:
    status = {"peers": {"details": [{"fqdn": "b.netbird.selfhosted", "connectionType": kind}]}}
    assert NetBird().claimed_path("a", "b", {"status-a": json.dumps(status)}) == claim
    assert NetBird().claimed_path("a", "c", {"status-a": json.dumps(status)}) is None
    assert NetBird().claimed_path("a", "b", {"status-a": ""}) is None
