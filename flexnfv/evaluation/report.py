"""The report: one HTML file with everything inside, that opens without a network."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from flexnfv.evaluation import tables
from flexnfv.evaluation.fronts import DROP_FLOOR
from flexnfv.evaluation.metrics import MEASURES
from flexnfv.evaluation.records import Episode
from flexnfv.evaluation.statistics import LEVEL, MARGIN, RESAMPLES

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from flexnfv.evaluation.comparison import Comparison

POINTS: Final = 400
"""Points of a time line after thinning."""

_COLOURS: Final = (
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

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}
h1{font-size:1.6em}h2{font-size:1.2em;margin-top:2em}
table{border-collapse:collapse;margin:1em 0;font-size:.9em}
th,td{padding:.25em .7em;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
.scroll{overflow-x:auto}.warning{background:#fff3cd;padding:.3em .8em;margin:.3em 0}
.note{color:#555;font-size:.9em;max-width:60em}select{font:inherit}
"""


def html(result: Comparison) -> str:
    """The report of a result as one HTML document."""
    from plotly.offline import get_plotlyjs

    grid = result.grid
    parts = [
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>FlexNFV: {escape(grid.chain.name)}</title><style>{_STYLE}</style>",
        f"<script>{get_plotlyjs()}</script></head><body>",
        "<h1>Scaling policies compared</h1>",
        f"<p>{escape(tables.scope(result))}</p>",
        *(f"<p class='warning'>{escape(line)}</p>" for line in result.warnings),
        "<h2>Comparison</h2>",
        _table(*tables.comparison(result)),
        f"<p class='note'>Figures are pooled over all traces with one setting for all; the "
        f"estimate is the interquartile mean over training and evaluation seeds, the brackets are "
        f"{LEVEL:.0%} intervals of a hierarchical bootstrap ({RESAMPLES:,} resamples: training "
        f"seed, evaluation seed, segments within each trace), paired by traffic for differences. "
        f"“No more drops”: the upper end of the paired difference is at most "
        f"{MARGIN * 100:g} percentage point.</p>",
        "<h2>Core usage against drops</h2>",
        _figure(fronts_figure(result)),
        _note_on_fronts(result),
        _table(*tables.placements(result)) if len(tables.placements(result)[0]) > 1 else "",
        "<h2>Other figures</h2>",
        _table(*tables.details(result)),
        f"<p class='note'>{_definitions()}</p>",
        "<h2>By trace</h2>",
        _table(*_by_trace(result)),
        "<h2>Over time</h2>",
        f"<p class='note'>Evaluation seed {grid.seeds[0]}, first training seed. Rates and "
        "instances are means, drops the highest value of what one point covers. Dotted: targets."
        "</p>",
        *_time_lines(result),
        "<h2>What was run</h2>",
        _what_was_run(result),
        "</body></html>",
    ]
    return "\n".join(parts)


def fronts_figure(result: Comparison) -> go.Figure:
    """Core usage against drop rate: every swept setting, fronts, named policies with intervals."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for colour, front in zip(_cycle(len(result.fronts)), result.fronts.values(), strict=True):
        bound = front.policy == "clairvoyant"
        best = [front.points[index] for index in front.best]
        figure.add_scatter(
            x=[point.core_usage for point in best],
            y=[_percent(point.drop_rate) for point in best],
            mode="lines+markers",
            name=f"{front.policy}, the bound" if bound else f"{front.policy}, swept",
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


def time_line(result: Comparison, trace: int) -> go.Figure:
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


def _time_lines(result: Comparison) -> list[str]:
    """Every trace's figure, folded away but for the first: a browser draws what is opened."""
    parts = []
    for index, trace in enumerate(result.grid.traces):
        figure = _figure(time_line(result, index))
        opened = " open" if index == 0 else ""
        parts.append(f"<details{opened}><summary>{escape(trace.name)}</summary>{figure}</details>")
    return parts


def _by_trace(result: Comparison) -> tuple[list[str], tables.Rows]:
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


def _note_on_fronts(result: Comparison) -> str:
    swept = [f"{name} {len(front.points)}" for name, front in result.fronts.items()]
    if not swept:
        return ""
    episodes = len(result.grid.traces) * len(result.grid.seeds)
    return (
        f"<p class='note'>Settings run: {escape(', '.join(swept))}, each on the same {episodes} "
        "episodes. Lines join the settings that no other setting of the same policy beats. Cores "
        "saved at the same drops are read off these lines, straight between neighbours with drops "
        f"on the logarithmic axis; drop rates below {DROP_FLOOR:g} count as that. Nothing is "
        "extrapolated.</p>"
    )


def _definitions() -> str:
    listed = "; ".join(f"{measure.title}: {measure.doc}" for measure in MEASURES.values())
    return escape(
        f"{listed}. Reaction: from the first interval in which packets were lost (beyond 0.01 %) "
        "or demand exceeded running capacity until it is covered again."
    )


def _what_was_run(result: Comparison) -> str:
    grid = result.grid
    policies: tables.Rows = [[one.name, ", ".join(one.specs)] for one in result.named]
    traces = [
        [
            trace.name,
            trace.family,
            f"{grid.lengths[trace.name]:,}",
            f"{trace.mean_pps / 1e6:.2f}",
            f"{trace.peak_pps / 1e6:.2f}",
        ]
        for trace in grid.traces
    ]
    facts = {
        "seeds": ", ".join(str(seed) for seed in grid.seeds),
        "backend": ", ".join(f"{key} {value}" for key, value in result.backend.items()),
        **result.made,
    }
    chain = {
        "chain": grid.chain.model_dump(mode="json"),
        "calibration": grid.chain.measured.model_dump(mode="json"),
    }
    return "".join(
        [
            _table(["policy", "specs"], policies),
            _table(["trace", "family", "intervals", "mean Mpps", "peak Mpps"], traces),
            _table(["", ""], [[key, value] for key, value in facts.items()]),
            "<details><summary>Chain and calibration</summary><pre>",
            escape(json.dumps(chain, indent=1, ensure_ascii=False)),
            "</pre></details>",
        ]
    )


def _table(heading: list[str], rows: tables.Rows) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heading)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<div class='scroll'><table><tr>{head}</tr>{body}</table></div>"


def _figure(figure: go.Figure) -> str:
    text: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        include_mathjax=False,
        config={"displaylogo": False, "responsive": True},
    )
    return text


def _percent(drop_rate: float) -> float:
    """For the logarithmic axis: nothing lies below the floor."""
    return 100 * max(drop_rate, DROP_FLOOR)


def _setting(setting: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in setting.items()) or "no parameter"


def _cycle(count: int) -> list[str]:
    return [_COLOURS[index % len(_COLOURS)] for index in range(count)]
