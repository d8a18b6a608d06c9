"""How often all pairs of n parties are direct: measured in trials, and what follows from the rates of pairs of NATs."""

from __future__ import annotations

import json

import pytest
from result_samples import Maker

from harness.report.hubcost_words import all_direct
from harness.results.alldirect import expected_all_direct, measured_by_n
from harness.results.conditions import varied_parameters
from harness.results.frame import records_frame


def test_all_direct_is_of_trials_not_of_pairs() -> None:
    maker, records = Maker(), []
    kinds = {"p1": "cgn", "p2": "cgn", "p3": "symmetric"}
    for repeat in range(4):
        for src, dst in (("p1", "p2"), ("p1", "p3"), ("p2", "p3")):
            punched = 0.0 if (repeat, src, dst) == (1, "p2", "p3") else 1.0
            records.append(
                maker.one(
                    *("path", "hole_punch_success", "1", punched),
                    **{"trial": f"t{repeat}", "src": src, "dst": dst, "topology": "parties"},
                    pair={name: {"nat": kinds[name]} for name in (src, dst)},
                )
            )
    found = measured_by_n(records_frame([record.as_dict() for record in records]))
    estimate = found["refmesh", "mesh", 3, "2 cgn, 1 symmetric"]
    assert (estimate.n, estimate.value) == (4, 0.75)
    assert "refmesh mesh with 3 parties (2 cgn, 1 symmetric) in 75 % of 4 trials" in all_direct(found)[0]


def test_one_relayed_kind_of_pair_makes_all_direct_rare() -> None:
    rates = {("easy", "easy"): 1.0, ("easy", "hard"): 1.0, ("hard", "hard"): 0.0}
    mix = {"easy": 0.5, "hard": 0.5}
    for n in (2, 3, 10):
        # At most one hard one among n.
        assert expected_all_direct(rates, mix, n) == pytest.approx(0.5**n * (1 + n))
    assert expected_all_direct({("a", "a"): 0.9}, {"a": 1.0}, 4) == pytest.approx(0.9**6)
    with pytest.raises(ValueError, match=r"add up to 0\.5"):
        expected_all_direct(rates, {"easy": 0.5}, 2)
    with pytest.raises(ValueError, match="no rate of easy and odd"):
        expected_all_direct(rates, {"easy": 0.5, "odd": 0.5}, 2)


def test_trials_of_unlike_links_have_no_rate_together() -> None:
    maker, records = Maker(), []
    for link, punched in (("dsl", 1.0), ("satellite", 0.0)):
        for repeat in range(5):
            same = {"trial": f"{link}{repeat}", "params": {"n": 2, "link": link, "nat": "symmetric"}}
            same |= {"pair": {name: {"nat": "symmetric"} for name in ("p1", "p2")}}
            records.append(maker.one("path", "hole_punch_success", "1", punched, src="p1", dst="p2", **same))
            records.append(maker.one("trial", "duration_s", "s", 5.0, **same))
    found = measured_by_n(records_frame([record.as_dict() for record in records]))
    assert {key[3]: (one.value, one.n) for key, one in found.items()} == {
        "symmetric; link=dsl": (1.0, 5),
        "symmetric; link=satellite": (0.0, 5),
    }


@pytest.mark.parametrize(("other", "said"), [("far", "link_s=far"), ("near", '"delay_ms": 40')])
def test_a_link_profile_is_told_by_its_name_unless_two_share_it(other: str, said: str) -> None:
    near, far = ({"name": name, "delay_ms": delay} for name, delay in (("near", 2), (other, 40)))
    texts = [json.dumps({"n": 3, "link_s": link}) for link in (near, far)]
    told = varied_parameters(texts)
    assert said in told[texts[1]] and len(set(told.values())) == 2, "records of unlike links are not pooled"
