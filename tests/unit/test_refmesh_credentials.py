"""Who is believed: certificates, invitations, the network document; and what a wrong configuration says."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml

from overlays.refmesh import config_file, credentials, keys
from overlays.refmesh.errors import ConfigError, CredentialError
from overlays.refmesh.network import Site, make_network, to_yaml

NOW_S = 1_700_000_000.0
UNTIL_S = int(NOW_S) + 1000
RNG = random.Random(3).randbytes
AUTHORITY, OTHER = RNG(32), RNG(32)
PUBLIC = keys.signing_public(AUTHORITY)
KEY = keys.public(RNG(32))


def certificate(authority: bytes = AUTHORITY, not_after: int = UNTIL_S) -> str:
    return credentials.issue(authority, "a", KEY, ["10.0.0.1/24"], groups=["lab"], not_after=not_after, rng=RNG)


def test_a_certificate_says_who_has_which_key_and_address() -> None:
    found = credentials.verify(certificate(), PUBLIC, NOW_S)
    assert (found.name, found.key, found.addresses, found.groups) == ("a", KEY, ("10.0.0.1/24",), ("lab",))


def test_another_networks_an_expired_and_a_revoked_certificate_are_refused() -> None:
    with pytest.raises(CredentialError, match="not the authority's"):
        credentials.verify(certificate(OTHER), PUBLIC, NOW_S)
    with pytest.raises(CredentialError, match="expired"):
        credentials.verify(certificate(), PUBLIC, UNTIL_S + 10_000)
    text = certificate()
    serial = credentials.verify(text, PUBLIC, NOW_S).serial
    with pytest.raises(CredentialError, match="revoked"):
        credentials.verify(text, PUBLIC, NOW_S, {serial})


def test_no_changed_character_goes_unnoticed() -> None:
    text = certificate()
    for position in range(0, len(text), 7):
        changed = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]
        with pytest.raises(CredentialError):
            credentials.verify(changed, PUBLIC, NOW_S)


@pytest.mark.parametrize("text", ["", ".", "/", "a.b", "a.b/c.d", "é.é", "x" * 10_000, "." * 100])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(CredentialError):
        credentials.verify(text, PUBLIC, NOW_S)


def test_a_join_key_makes_its_holder_that_member_with_a_key_of_its_own() -> None:
    join_key = credentials.invite(AUTHORITY, "new", ["10.0.0.9/24"], server="s0", not_after=UNTIL_S, rng=RNG)
    found = credentials.verify(credentials.redeem(join_key, KEY), PUBLIC, NOW_S)
    assert (found.name, found.key, found.invited) == ("new", KEY, True)


def test_a_join_key_of_another_network_or_a_made_up_one_is_worth_nothing() -> None:
    foreign = credentials.invite(OTHER, "new", ["10.0.0.9/24"], server="s0", not_after=UNTIL_S, rng=RNG)
    with pytest.raises(CredentialError):
        credentials.verify(credentials.redeem(foreign, KEY), PUBLIC, NOW_S)
    good = credentials.invite(AUTHORITY, "new", ["10.0.0.9/24"], server="s0", not_after=UNTIL_S, rng=RNG)
    made_up = credentials._b64(RNG(32)) + ":" + good.split(":")[1]
    with pytest.raises(CredentialError):
        credentials.verify(credentials.redeem(made_up, KEY), PUBLIC, NOW_S)
    with pytest.raises(CredentialError, match="join key"):
        credentials.redeem("nonsense", KEY)


def test_a_signed_thing_of_one_kind_is_none_of_another() -> None:
    policy = credentials.sign_policy(AUTHORITY, 1, [{"from": "*", "to": "*"}])
    assert credentials.verify_policy(policy, PUBLIC).version == 1
    with pytest.raises(CredentialError):
        credentials.verify(policy, PUBLIC, NOW_S)
    with pytest.raises(CredentialError):
        credentials.verify_policy(certificate(), PUBLIC)


def test_a_network_has_addresses_in_order_and_configurations_that_load(tmp_path: Path) -> None:
    network = make_network(["a", "b"], [Site("s", "20.0.0.9", tls_port=443)], prefix="10.9.0.0/24", rng=RNG)
    assert network.addresses == {"a": "10.9.0.1/24", "b": "10.9.0.2/24", "s": "10.9.0.254/24"}
    (tmp_path / "a.yaml").write_text(to_yaml(network.node_config("a", mode="relay", status_socket="a.sock")))
    (tmp_path / "s.yaml").write_text(to_yaml(network.server_config("s", hub=True)))
    node = config_file.load_node(tmp_path / "a.yaml")
    assert (node.mode, node.servers[0].endpoint.host, node.status_socket) == ("relay", "20.0.0.9", tmp_path / "a.sock")
    assert config_file.load_server(tmp_path / "s.yaml").hub


def test_a_network_that_does_not_fit_or_has_a_name_twice_is_refused() -> None:
    with pytest.raises(CredentialError, match="too small"):
        make_network(["a", "b", "c"], [Site("s", "20.0.0.9")], prefix="10.9.0.0/30", rng=RNG)
    with pytest.raises(CredentialError, match="different names"):
        make_network(["a", "a"], [], rng=RNG)


def problems_of(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config_file.load_node(path)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


def test_every_problem_is_named_with_line_and_field(tmp_path: Path) -> None:
    text = "privat_key: 3\nmode: mesg\nlisten_port: 99999\nservers:\n - name: 3\n   endpoint: nowhere\n"
    found = problems_of(tmp_path, text)
    assert "1: privat_key: unknown field (did you mean private_key?)" in found
    assert any(p.startswith("2: mode: must be one of mesh") and "did you mean mesh?" in p for p in found)
    assert any(p.startswith("3: listen_port: must be a whole number from 0 to 65535") for p in found)
    assert any(p.startswith("6: servers[0].endpoint: must be HOST:PORT") for p in found)
    assert "5: servers[0].public_key: is missing" in found


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("", "1: file: is empty"),
        ("- a\n- b\n", "1: file: must be a mapping"),
        ("a: [1\nb: 2\n", "2: file: not YAML"),
        ("private_key: c2hvcnQ=\naddresses: [10.0.0.1/24]\n", "1: private_key: a key has 32 bytes"),
        ("private_key: '*'\naddresses: [10.0.0.1/24]\n", "1: private_key: not base64"),
    ],
)
def test_what_is_no_configuration_says_so(tmp_path: Path, text: str, start: str) -> None:
    assert problems_of(tmp_path, text)[0].startswith(start)


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(keys.encode(RNG(32)))
    (tmp_path / "key").chmod(0o644)
    found = problems_of(tmp_path, yaml.safe_dump({"private_key_file": "key", "addresses": ["10.0.0.1/24"]}))
    assert any("chmod 600" in problem for problem in found)


def test_protocols_of_port_mapping_are_named(tmp_path: Path) -> None:
    assert "1: port_mapping: must be one of pcp, nat-pmp, upnp-igd, not 'pcpp' (did you mean pcp?)" in problems_of(
        tmp_path, "port_mapping: [pcpp]\n"
    )
    (wrong,) = (problem for problem in problems_of(tmp_path, "port_mapping: 3\n") if "port_mapping" in problem)
    assert wrong.startswith("1: port_mapping: must be true, false or a list")
