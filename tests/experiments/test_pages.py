"""Findings as files: pictures of whatever was measured, names that inject nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from flexnfv.evaluation.records import Episode
from flexnfv.evaluation.statistics import Interval
from flexnfv.experiments import calibrate, fidelity, fig2, fig3, fig4, launch, pages, ranking
from flexnfv.experiments.findings import Claim, Finding
from flexnfv.experiments.latency import Latencies
from flexnfv.experiments.measure import Overload

ZERO = np.zeros(8)


def _nothing_measured() -> calibrate.Measured:
    return calibrate.Measured(
        processing_ns=ZERO,
        inside_ns=ZERO,
        declared=False,
        loss_free_pps=ZERO,
        overload=Overload(ZERO, ZERO),
        served=ZERO,
        rings=ZERO,
        together=ZERO,
        latencies=[Latencies(0.0, 0.0)],
        imbalance=[1.0],
    )


def _silence() -> Episode:
    rates = ("offered_pps", "delivered_pps", "dropped_pps")
    chain = {"time_s": np.arange(8.0), **dict.fromkeys(rates, ZERO)}
    return Episode(("NF1",), chain, {"running": np.zeros((8, 1))}, {})


KEYS = ("gbps", "flexnfv_mpps", "opennetvm_mpps", "theoretical_mpps")
COURSE = {
    "second": np.arange(8.0),
    **dict.fromkeys(("delivered_pps", "dropped_pps", "queue", "instances"), ZERO),
}
FIGURES = {name: {"static": Interval(0.0, 0.0, 0.0)} for name in ranking.RANKED}
DRAWN: dict[str, Callable[[Figure], None]] = {
    "fig2": partial(fig2.draw, rows=[dict.fromkeys(KEYS, 1.0)] * 2),
    "fig3": partial(fig3.draw, episode=_silence()),
    "fig4": partial(fig4.draw, rates=dict.fromkeys(("FlexNFV", "NFVnice", "OpenNetVM"), 0.0)),
    "launch": partial(launch.draw, found=[Latencies(0.0, 0.0)]),
    "fidelity": partial(fidelity.draw, courses={"model": COURSE, "live": COURSE}),
    "ranking": partial(ranking.draw, both={"model": FIGURES, "live": FIGURES}),
    "calibrate": partial(calibrate.draw, measured=_nothing_measured(), model=_nothing_measured()),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", DRAWN)
def test_nothing_but_zeros_is_drawn_without_a_warning(name: str) -> None:
    assert pages.png(Finding(name, name, [], (), DRAWN[name])).startswith(b"\x89PNG")


def test_names_are_text_in_the_page(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>"
    finding = Finding(
        "one",
        evil,
        [{evil: evil, "rate": 1 / 3}] * (pages.MOST_ROWS + 5),
        (Claim(evil, "<b>1</b>", "2 & 3", holds=False),),
        lambda figure: None,
        notes=(evil,),
    )
    pages.write(tmp_path, evil, {"model": [finding]}, {"facts": evil})
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "<b>" not in page
    assert page.count("&lt;script&gt;") >= 5 + pages.MOST_ROWS
    assert '<td class="fail">fail</td>' in page
    assert "0.333333" in page
    assert "5 more rows in model/one.csv" in page
