"""What stands behind a drawing: the cells of a heat map, a distribution, a topology and its words."""

import numpy as np
import pandas as pd
from made_runs import frame_of

from harness.report.plots.heatmap import matrix_of, shade
from harness.report.plots.latency import distributions
from harness.report.topology import draw_topology
from harness.results.pairs import pairs_frame


def test_matrix_holds_k_n_and_few() -> None:
    trials = pairs_frame(frame_of(repeats=10))
    group = trials[(trials["overlay"] == "refmesh") & (trials["mode"] == "mesh")]
    matrix = matrix_of(group, "refmesh", "mesh")
    assert matrix is not None
    assert matrix.nats_a == ("full-cone", "port-restricted", "symmetric")
    cell = matrix.cells["symmetric", "symmetric"]
    assert (cell.k, cell.n, cell.few, cell.paths) == (0, 10, False, ("relayed",))
    hub = trials[trials["mode"] == "hub"]
    assert matrix_of(hub, "openvpn", "hub") is None
    assert shade(0) != shade(0.5) != shade(1)


def test_lost_packets_keep_the_distribution_below_one() -> None:
    trials = pairs_frame(frame_of())
    name = trials["trial"].iloc[0]
    rtt = [10.0] * 90 + [np.nan] * 10
    samples = pd.DataFrame({"trial": name, "src": "a", "dst": "b", "seq": range(100), "sent_s": 0.0, "rtt_ms": rtt})
    data = distributions(samples, trials)
    assert data[np.isfinite(data["rtt_ms"])]["probability"].max() < 0.91
    assert data["packets"].iloc[0] == 100


def test_topology_is_drawn_and_told() -> None:
    topology = {
        "hosts": {
            "a": {"on": "lan", "addresses": ["192.168.1.2"], "via": "ra"},
            "b": {"on": "carrier", "addresses": ["10.0.0.2"], "via": "rc"},
            "s": {"on": "internet", "addresses": ["45.45.0.10"]},
        },
        "routers": {
            "ra": {"outside": {"addresses": ["10.0.0.1"], "via": "rc"}},
            "rc": {"outside": {"addresses": ["45.45.0.1"]}},
        },
    }
    drawing = draw_topology(topology, {"ra": "symmetric", "rc": "<cgnat>"})
    assert drawing is not None
    assert drawing.text.startswith("a is behind ra (symmetric), then rc (<cgnat>)")
    assert "&lt;cgnat&gt;" in drawing.svg and "<cgnat>" not in drawing.svg
    assert draw_topology({"hosts": {}}, {}) is None
