"""The documentation builds as a site in which every link leads somewhere, and its generated parts are up to date."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from harness.model.document import parse
from harness.model.template import check_parameters, read_template, render
from harness.model.topology_reference import page, topology_schema
from harness.overlay import deployed
from harness.overlay.registry import overlay_names
from harness.scenario.load import TOPOLOGIES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.mark.timeout(400)
def test_every_link_leads_somewhere(tmp_path: Path) -> None:
    """`--strict` makes an error of each link, anchor or page that MkDocs does not find."""
    pytest.importorskip("mkdocs", reason="the Python package mkdocs is missing; to get it: ./setup.sh test")
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "docs")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, timeout=380)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "docs" / "library.html").read_text()
    for name in ("load", "compare", "Overlay", "Deployment", "Probe", "Event", "Host"):
        assert re.search(rf'id="harness\.[a-z_.]+\.{name}"', text), name
    assert not re.search(r"""(src|href)=["']?https?://[^"']+\.(js|css)""", text), "nothing is loaded from elsewhere"


def test_both_files_on_topologies_are_up_to_date() -> None:
    """If this fails: python -m harness.model.topology_reference"""
    assert json.loads((DOCS / "topology.schema.json").read_text()) == topology_schema()
    text = (DOCS / "topology.md").read_text()
    assert page(text) == text


def test_the_table_of_deployments_is_that_of_the_adapters_package() -> None:
    """If this fails: python -m harness.overlay.deployed"""
    text = (DOCS / "overlays.md").read_text()
    assert deployed.page(text) == text
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", deployed.table(), re.MULTILINE) for name in row.split("`")[1::2]
    }
    assert named <= set(overlay_names()), "of overlays that there are"


def _part(name: str) -> dict[str, Any]:
    schema = topology_schema()
    return {**schema, "anyOf": [{"$ref": f"#/$defs/{name}"}]}


@pytest.mark.parametrize("path", sorted(TOPOLOGIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_header_of_every_bundled_topology_fits(path: Path) -> None:
    header = yaml.safe_load(path.read_text().partition("\n---\n")[0])
    jsonschema.validate(header, _part("TopologyHeader"), jsonschema.Draft202012Validator)


BODY = {
    "segments": {"internet": {"subnet": "45.45.0.0/16"}, "lan": {"subnets": ["192.168.1.0/24"]}},
    "hosts": {"a": {"on": "lan", "address": "192.168.1.2", "via": "ra"}},
    "routers": {
        "ra": {
            "nat": "symmetric",
            "outside": {"on": "internet", "address": "45.45.1.1", "link": "dsl"},
            "inside": {"on": "lan", "addresses": ["192.168.1.1"]},
        }
    },
    "members": ["a"],
}


def test_short_forms_of_a_body_fit_and_mistakes_do_not() -> None:
    validator = jsonschema.Draft202012Validator(_part("Topology"))
    validator.validate(BODY)
    host = BODY["hosts"]["a"]  # type: ignore[index]
    for change in (
        {"hosts": {"a": host | {"addresses": ["192.168.1.2"]}}},  # both forms at once
        {"hosts": {"a": {"on": "lan"}}},
        {"hosts": {"a": host | {"through": "ra"}}},
        {"members": []},
        {"network": {}},
    ):
        assert not validator.is_valid(BODY | change), change


def test_the_pages_example_is_a_topology() -> None:
    (example,) = re.findall(r"```yaml\n(description:.*?)```", (DOCS / "topology.md").read_text(), flags=re.DOTALL)
    template = read_template("example", "example.yaml", example)
    assert check_parameters(template, {}) == {}
    topology = render(template, {"nat_a": "symmetric"})
    assert topology.routers_of("a") == ["ra", "rc"] and topology.server == "s"
    assert parse(example.partition("\n---\n")[0], "x").data["parameters"]["nat_carrier"]["default"] == "cgn"


def test_a_newcomer_reads_no_abbreviation_before_it_is_explained() -> None:
    text = (DOCS / "primer.md").read_text()
    for short in ("EIM", "ADM", "APDM", "EIF", "ADF", "APDF", "NAT", "STUN"):
        first = re.search(rf"\b{short}\b", text.partition("\n")[2])
        assert first is not None
        before = text.partition("\n")[2][max(0, first.start() - 60) : first.end() + 60]
        assert f"({short})" in before or short == "STUN", short
    for picture in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text):
        svg = (DOCS / picture).read_text()
        assert "<title" in svg and "<desc" in svg, picture
