"""The page that explains a learned policy: one HTML file that opens without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from flexnfv.evaluation.explain import reasons
from flexnfv.evaluation.explain.explanation import LEVELS_SHOWN, Course, Explanation
from flexnfv.evaluation.explain.occlusion import GROUPS
from flexnfv.evaluation.machine import made_with
from flexnfv.evaluation.metrics import MEASURES
from flexnfv.evaluation.report import COLOURS, embedded, thin
from flexnfv.files import new_file
from flexnfv.templating import page

if TYPE_CHECKING:
    import plotly.graph_objects as go

FloatArray = npt.NDArray[np.float64]

POINTS: Final = 4_000
"""Points of a time line at most: every interval of a usual trace."""
CLASSES: Final = {"above 50 %": (0, 1), "6 to 50 %": (1, 4), "0.8 to 6 %": (4, 7), "less": (7, 16)}
"""Classes of probability that corrections are shown for: the octaves from 1 downwards."""
COMPARED: Final = (
    "core_usage",
    "parked_cores",
    "drop_rate",
    "launches_per_min",
    "reruns_per_min",
    "latency_s",
)
"""Measures that are shown of both policies."""
BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, VIOLET, BLACK = COLOURS
GREY: Final = "#888888"


def write(found: Explanation, path: Path) -> None:
    """Write the page to a new file, whole or not at all.

    Raises:
        InputError: the file exists.
    """
    with new_file(path) as temporary:
        temporary.write_text(html(found), encoding="utf-8")


def html(found: Explanation) -> str:
    """The page as one HTML document."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    return page(
        "explanation.html",
        plotly=Markup(get_plotlyjs()),
        own=found.own.spec,
        rule=found.rule.spec,
        chain_name=found.chain.name,
        trace_name=found.trace.name,
        intervals=f"{len(found.time_s):,}",
        interval_s=f"{found.chain.interval_s:g}",
        drop_cost=f"{found.drop_cost:.4g}",
        verdict=verdict(found),
        compared=compared(found),
        over_time=embedded(over_time(found)),
        moments=[_moment(moment) for moment in reasons.moments(found)],
        coverage=reasons.coverage(found, LEVELS_SHOWN),
        correction=embedded(correction(found)),
        influences=influences(found),
        parking=reasons.parking(found),
        parking_figure=embedded(parking(found)),
        facts=[
            *(((found.rule.spec, found.setting),) if found.setting else ()),
            *made_with().items(),
        ],
    )


def verdict(found: Explanation) -> str:
    """The outcome in a sentence."""
    own, rule = found.cost(found.own), found.cost(found.rule)
    told = [
        f"{course.spec} cost {cost:.2f} cores per interval and lost {drops:.3g} %"
        for course, cost in ((found.own, own), (found.rule, rule))
        for drops in (100 * np.nan_to_num(course.figures["drop_rate"]),)
    ]
    return f"{', '.join(told)}: {abs(own / rule - 1):.1%} {'less' if own < rule else 'more'}."


def compared(found: Explanation) -> tuple[list[str], list[list[str]]]:
    """Both policies' measures."""
    measures = [MEASURES[name] for name in COMPARED]
    heading = ["policy", *(measure.title for measure in measures), "cost"]
    rows = []
    for course in (found.own, found.rule):
        values = [course.figures[name] * MEASURES[name].factor for name in COMPARED]
        cells = [f"{value:.{one.digits}f}" for value, one in zip(values, measures, strict=True)]
        rows.append([course.spec, *cells, f"{found.cost(course):.2f}"])
    return heading, rows


def over_time(found: Explanation) -> go.Figure:
    """Demand and what was expected of it, what ran, what was held, parked and lost."""
    figure = _figure(
        ("Mpps at the chain's entry", "cores held", "parked cores", "lost, Mpps"),
        [0.46, 0.22, 0.14, 0.18],
        760,
    )
    time = found.time_s
    shades = zip(LEVELS_SHOWN, ("#08519c", "#3182bd", "#6baed6", "#bdd7e7"), strict=True)
    for share, colour in reversed(list(shades)):
        name = f"expected to be exceeded with {100 * share:g} %"
        _line(figure, 1, name, time[1:], found.expected_pps(share) / 1e6, colour, width=1)
    _line(figure, 1, "demand", time, found.offered_pps / 1e6, BLACK, width=1.5)
    for course, colour, dash in _courses(found):
        name = course.spec
        runs = course.runs_pps(found.types) / 1e6
        style: dict[str, Any] = {"dash": dash, "shape": "hv"}
        _line(figure, 1, f"{name}: runs", time, runs, colour, **style)
        _line(figure, 2, f"{name}: cores", time, course.cores, colour, **style)
        _line(figure, 3, f"{name}: parked", time, course.parked, colour, **style)
        _line(figure, 4, f"{name}: lost", time, course.lost / 1e6, colour, dash=dash)
    return figure


def correction(found: Explanation) -> go.Figure:
    """How often what was expected has come true on this link, and what that changed."""
    titles = "came true / expected", "cores that this added", "drop cost acted on"
    figure = _figure(titles, [0.4, 0.35, 0.25], 560)
    time, prior = found.time_s[1:], found.tuning.prior
    for (name, (first, last)), colour in zip(CLASSES.items(), COLOURS, strict=False):
        seen = found.decisions.seen[:, first:last].sum(axis=1) + prior
        expected = found.decisions.expected[:, first:last].sum(axis=1) + prior
        _line(figure, 1, f"probabilities {name}", time, seen / expected, colour)
    added = found.answers.cores - found.uncorrected.cores
    _line(figure, 2, "cores added", time, added, BLACK, shape="hv")
    _line(figure, 3, "drop cost", time, found.decisions.drop_cost, VIOLET, shape="hv")
    for row in (1, 3):
        figure.update_yaxes(type="log", row=row, col=1)
    return figure


def parking(found: Explanation) -> go.Figure:
    """How likely more than what ran was held to be needed, and what was kept parked."""
    figure = _figure(
        ("probability that more is needed than runs", "parked cores"), [0.65, 0.35], 420
    )
    time, runs = found.time_s[1:], found.own.runs_pps(found.types)[1:]
    for name, horizon, colour in (
        ("in the next interval", None, ORANGE),
        ("within 16", 16.0, GREEN),
        ("within 256", 256.0, SKY),
    ):
        _line(figure, 1, name, time, found.chance(horizon, runs), colour, width=1)
    _line(figure, 2, "kept parked", time, found.own.parked[1:], BLUE, shape="hv")
    launches = found.own.episode.types["launches"][1:].sum(axis=1).astype(np.float64)
    _line(figure, 2, "launches", time, launches, PINK, how=np.max, shape="hv")
    return figure


def influences(found: Explanation) -> list[list[str]]:
    """What each group of inputs did, the strongest first: mean sizes over all decisions."""
    rows = []
    for name, one in found.influences.items():
        moved = np.abs(one.cores)
        factor = float(np.exp(np.abs(one.likelihood).mean()))
        added, taken = (
            float(np.maximum(one.cores, 0).mean()),
            float(np.minimum(one.cores, 0).mean()),
        )
        cells = [name, GROUPS[name][0], f"{(moved > 0).mean():.0%}"]
        rows.append((factor, [*cells, f"{added:+.2f}", f"{taken:+.2f}", f"x {factor:.2f}"]))
    return [row for _, row in sorted(rows, key=lambda pair: -pair[0])]


def _moment(moment: reasons.Moment) -> list[str]:
    return [f"{moment.time_s:g}", moment.what, moment.rule, moment.expected, moment.why]


def _courses(found: Explanation) -> tuple[tuple[Course, str, str], ...]:
    return (found.own, BLUE, "solid"), (found.rule, ORANGE, "dot")


def _figure(titles: tuple[str, ...], heights: list[float], height: int) -> go.Figure:
    from plotly.subplots import make_subplots

    figure = make_subplots(
        rows=len(titles),
        cols=1,
        shared_xaxes=True,
        row_heights=heights,
        vertical_spacing=0.06,
        subplot_titles=titles,
    )
    figure.update_layout(template="plotly_white", height=height, margin={"t": 40, "b": 40})
    figure.update_xaxes(title_text="seconds", row=len(titles), col=1)
    return figure


def _line(
    figure: go.Figure,
    row: int,
    name: str,
    time: FloatArray,
    values: FloatArray,
    colour: str,
    how: Any = np.mean,
    **style: Any,
) -> None:
    figure.add_scatter(
        x=thin(time, np.max, POINTS),
        y=thin(values, how, POINTS),
        name=name,
        mode="lines",
        line={"color": colour, "width": 1.5} | style,
        row=row,
        col=1,
    )
