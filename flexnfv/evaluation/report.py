"""The report: one HTML file with everything inside, that opens without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from flexnfv.evaluation import tables
from flexnfv.evaluation.candidates import BOUND
from flexnfv.evaluation.cost import LEAST_GAP
from flexnfv.evaluation.fronts import DROP_FLOOR
from flexnfv.evaluation.metrics import MEASURES
from flexnfv.evaluation.records import Episode
from flexnfv.evaluation.result import Result
from flexnfv.evaluation.statistics import LEVEL, MARGIN, RESAMPLES
from flexnfv.files import new_file
from flexnfv.templating import page

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from markupsafe import Markup

POINTS: Final = 400
"""Points of a time line after thinning."""

COLOURS: Final = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#6a3d9a",
    "#000000",
)
"""Okabe and Ito's palette, which colour-blind readers can tell apart; black last."""


def write(result: Result, path: Path) -> None:
    """Write the report of a result to a new file, whole or not at all.

    Raises:
        InputError: the file exists.
    """
    with new_file(path) as temporary:
        temporary.write_text(html(result), encoding="utf-8")


def html(result: Result) -> str:
    """The report of a result as one HTML document."""
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    grid = result.grid
    swept = [f"{name} {len(front.points)}" for name, front in result.fronts.items()]
    gaps = result.gaps
    return page(
        "report.html",
        chain_name=grid.chain.name,
        plotly=Markup(get_plotlyjs()),
        scope=tables.scope(result),
        warnings=result.warnings,
        rules=[] if gaps is None else list(gaps.rule.values()),
        bound="" if gaps is None else tables.bound_of(gaps),
        parked_weight=f"{grid.chain.parked_weight:g}",
        least_gap=f"{LEAST_GAP:.0%}",
        costs=[]
        if gaps is None
        else [
            (
                f"{drop_cost:g}",
                tables.costs_in_full(gaps, drop_cost),
                tables.costs_by_trace(gaps, drop_cost),
            )
            for drop_cost in grid.drop_costs
        ],
        targets=[tables.common_targets(result), tables.own_targets(result)]
        if result.drop_targets
        else [],
        comparison=tables.comparison(result),
        level=f"{LEVEL:.0%}",
        resamples=f"{RESAMPLES:,}",
        margin=f"{MARGIN * 100:g}",
        fronts=embedded(fronts_figure(result)),
        swept=", ".join(swept),
        episodes=len(grid.traces) * len(grid.seeds),
        floor=f"{DROP_FLOOR:g}",
        placements=tables.placements(result),
        details=tables.details(result),
        definitions=list(MEASURES.values()),
        by_trace=_by_trace(result),
        first_seed=grid.seeds[0],
        time_lines=[
            (trace.name, embedded(time_line(result, index)))
            for index, trace in enumerate(grid.traces)
        ],
        **_what_was_run(result),
    )


def fronts_figure(result: Result) -> go.Figure:
    """Core usage against drop rate: every swept setting, fronts, named policies with intervals."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for colour, front in zip(_cycle(len(result.fronts)), result.fronts.values(), strict=True):
        bound = front.policy == BOUND
        best = [front.points[index] for index in front.best]
        figure.add_scatter(
            x=[point.core_usage for point in best],
            y=[_percent(point.drop_rate) for point in best],
            mode="lines+markers",
            name=f"{front.policy}, knows the trace" if bound else f"{front.policy}, swept",
            legendgroup=front.policy,
            line={"color": colour, "dash": "dash" if bound else "solid"},
            text=[_setting(point.setting) for point in best],
            hovertemplate="%{text}<br>%{x:.2f} cores, %{y:.4f} % drops<extra></extra>",
        )
        rest = [point for index, point in enumerate(front.points) if index not in front.best]
        if rest:
            figure.add_scatter(
                x=[point.core_usage for point in rest],
                y=[_percent(point.drop_rate) for point in rest],
                mode="markers",
                showlegend=False,
                legendgroup=front.policy,
                marker={"color": colour, "opacity": 0.3},
                text=[_setting(point.setting) for point in rest],
                hovertemplate="%{text}<br>%{x:.2f} cores, %{y:.4f} % drops<extra></extra>",
            )
    for colour, one in zip(_cycle(len(result.named)), result.named, strict=True):
        cores = result.intervals[one.name]["core_usage"]
        drops = result.intervals[one.name]["drop_rate"]
        figure.add_scatter(
            x=[cores.estimate],
            y=[_percent(drops.estimate)],
            mode="markers+text",
            name=one.name,
            text=[one.name],
            textposition="top center",
            marker={"symbol": "diamond", "size": 11, "color": colour, "line": {"width": 1}},
            error_x={
                "array": [cores.high - cores.estimate],
                "arrayminus": [cores.estimate - cores.low],
            },
            error_y={
                "array": [_percent(drops.high) - _percent(drops.estimate)],
                "arrayminus": [_percent(drops.estimate) - _percent(drops.low)],
            },
        )
    figure.update_layout(
        template="plotly_white",
        height=520,
        xaxis_title="core usage (running, launching and draining)",
        yaxis={"title": "dropped packets, %", "type": "log"},
    )
    return figure


def time_line(result: Result, trace: int) -> go.Figure:
    """One trace: rates, drops and instances of every named policy, one shown at a time."""
    from plotly.subplots import make_subplots

    names = result.grid.chain.nf_names
    figure = make_subplots(
        rows=3,
        cols=1,
        shared_xaxes=True,
        row_heights=[0.4, 0.2, 0.4],
        vertical_spacing=0.04,
        subplot_titles=("Mpps", "drops %", "instances"),
    )
    counts = []
    for order, one in enumerate(result.named):
        episode = result.episode(one.specs[0], trace)
        before = len(figure.data)
        shown = order == 0
        _add_rates(figure, episode, shown)
        for t, (name, colour) in enumerate(zip(names, _cycle(len(names)), strict=True)):
            common: dict[str, Any] = {"legendgroup": name, "visible": shown}
            time = thin(episode.chain["time_s"], np.max)
            figure.add_scatter(
                x=time,
                y=thin(episode.types["running"][:, t], np.mean),
                name=name,
                line={"color": colour, "shape": "hv"},
                row=3,
                col=1,
                **common,
            )
            figure.add_scatter(
                x=time,
                y=thin(episode.types["targets"][:, t], np.mean),
                name=f"{name} target",
                showlegend=False,
                line={"color": colour, "dash": "dot", "width": 1, "shape": "hv"},
                row=3,
                col=1,
                **common,
            )
        counts.append(len(figure.data) - before)
    owners = np.repeat(np.arange(len(counts)), counts)
    figure.update_layout(
        template="plotly_white",
        height=620,
        title=result.grid.traces[trace].name,
        updatemenus=[
            {
                "x": 1.0,
                "xanchor": "right",
                "y": 1.15,
                "buttons": [
                    {
                        "label": one.name,
                        "method": "update",
                        "args": [{"visible": (owners == order).tolist()}],
                    }
                    for order, one in enumerate(result.named)
                ],
            }
        ],
    )
    figure.update_xaxes(title_text="seconds", row=3, col=1)
    return figure


def thin(values: npt.NDArray[Any], how: Any, points: int = POINTS) -> npt.NDArray[np.float32]:
    """At most that many values: what `how` (np.mean, np.max) makes of equal stretches."""
    stretch = -(-len(values) // points)
    starts = range(0, len(values), stretch)
    return np.array([how(values[start : start + stretch]) for start in starts], np.float32)


def _add_rates(figure: go.Figure, episode: Episode, shown: bool) -> None:
    chain = episode.chain
    time = thin(chain["time_s"], np.max)
    for column, name, colour in (
        ("offered_pps", "offered", "#888888"),
        ("delivered_pps", "delivered", "#0072b2"),
    ):
        figure.add_scatter(
            x=time,
            y=thin(chain[column] / 1e6, np.mean),
            name=name,
            line={"color": colour},
            visible=shown,
            row=1,
            col=1,
        )
    offered = chain["offered_pps"]
    lost = np.divide(chain["dropped_pps"], offered, out=np.zeros_like(offered), where=offered > 0)
    figure.add_scatter(
        x=time,
        y=thin(100 * lost, np.max),
        name="drops",
        line={"color": "#d55e00"},
        visible=shown,
        row=2,
        col=1,
    )


def _by_trace(result: Result) -> tuple[list[str], tables.Rows]:
    heading = ["trace"]
    for one in result.named:
        heading += [f"{one.name}: cores", "drops %"]
    rows = []
    for trace in result.grid.traces:
        row = [trace.name]
        for one in result.named:
            found = result.per_trace[one.name][trace.name]
            row += [
                tables.number(found["core_usage"], 2),
                tables.number(100 * found["drop_rate"], 3),
            ]
        rows.append(row)
    return heading, rows


def _what_was_run(result: Result) -> dict[str, Any]:
    """What the report's last part names: policies, traces, facts, chain."""
    grid = result.grid
    chain = {
        "chain": grid.chain.model_dump(mode="json"),
        "calibration": grid.chain.measured.model_dump(mode="json"),
    }
    return {
        "policies": [[one.name, ", ".join(one.specs)] for one in result.named],
        "traces": [
            [
                trace.name,
                trace.family,
                f"{grid.lengths[trace.name]:,}",
                f"{trace.mean_pps / 1e6:.2f}",
                f"{trace.peak_pps / 1e6:.2f}",
            ]
            for trace in grid.traces
        ],
        "facts": [
            ("seeds", ", ".join(str(seed) for seed in grid.seeds)),
            ("backend", ", ".join(f"{key} {value}" for key, value in result.backend.items())),
            *result.made.items(),
        ],
        "chain": json.dumps(chain, indent=1, ensure_ascii=False),
    }


def embedded(figure: go.Figure) -> Markup:
    """A figure as part of a page; plotly itself escapes the names in it."""
    from markupsafe import Markup

    return Markup(
        figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            include_mathjax=False,
            config={"displaylogo": False, "responsive": True},
        )
    )


def _percent(drop_rate: float) -> float:
    """For the logarithmic axis: nothing lies below the floor."""
    return 100 * max(drop_rate, DROP_FLOOR)


def _setting(setting: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in setting.items()) or "no parameter"


def _cycle(count: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(count)]
