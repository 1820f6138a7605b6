"""Fig. 3: throughput and instances of NF1 when the input rate changes suddenly.

4 Gbps with two instances of every NF type; at t = 6 s 2 Gbps; at t = 14 s 4 Gbps again. A step
falls on the start of an interval; the check at that interval's end is the first that can see it,
so what the check commands takes effect in the interval after (`SEEN`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from flexnfv.evaluation.records import Episode
from flexnfv.experiments import paper
from flexnfv.experiments.findings import Claim, Finding, Row
from flexnfv.experiments.runner import Runner
from flexnfv.traces import Trace, gbps_to_pps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HIGHEST_GBPS: Final = 4
"""Before the first step and after the second."""
DOWN_S: Final = 6
"""When the rate drops to 2 Gbps, seconds."""
UP_S: Final = 14
"""When it is 4 Gbps again, seconds."""
END_S: Final = 22
"""Length of the run, seconds."""
SEEN: Final = 1
"""Intervals from a step to the commands of the first check that can see it."""
LATE_SHARE: Final = 0.01
"""Lost packets that may fall outside the step's interval, as a share of those within: the woken
instance starts its rerun latency after that interval."""


def run(runner: Runner) -> Finding:
    """Block at once, rerun instead of launching, drops in the step's interval only.

    Raises:
        InputError: what the backend refuses.
        BackendError: the backend died.
    """
    chain = paper.doubled()
    episodes = runner.episodes(chain, paper.FLEXNFV, trace())
    rows: list[Row] = [
        {
            "run": seed,
            "time_s": float(episode.chain["time_s"][n]),
            "offered_mpps": float(episode.chain["offered_pps"][n] / 1e6),
            "throughput_mpps": float(episode.chain["delivered_pps"][n] / 1e6),
            "dropped_mpps": float(episode.chain["dropped_pps"][n] / 1e6),
            **{
                f"{name}_{what}": int(episode.types[what][n, t])
                for t, name in enumerate(chain.nf_names)
                for what in ("running", "blocks", "reruns", "launches")
            },
        }
        for seed, episode in zip(runner.seeds, episodes, strict=True)
        for n in range(len(episode))
    ]
    late = [late_share(episode) for episode in episodes]
    claims = (
        _claim(
            runner,
            "one instance of every NF type is blocked at once at t = 6 s",
            [blocked_at_once(episode) for episode in episodes],
        ),
        _claim(
            runner,
            "NF1 is rerun at once at t = 14 s, every blocked instance is, and none is launched",
            [rerun_not_launched(episode) for episode in episodes],
        ),
        Claim(
            "drops only in the interval of the step at t = 14 s",
            f"at most {max(late):.2%} of its drops outside it",
            f"at most {LATE_SHARE:.0%} (the rerun latency)",
            runner.enough(share <= LATE_SHARE for share in late),
        ),
    )
    return Finding(
        "fig3",
        "Fig. 3: throughput and instances of NF1 under a sudden change of the input rate",
        rows,
        claims,
        lambda figure: draw(figure, episodes[0]),
        ("NF3 sees the second step one check later: until NF1 is rerun, its losses hide it.",),
    )


def trace() -> Trace:
    """4, 2 and 4 Gbps."""
    rates = np.full(END_S, gbps_to_pps(HIGHEST_GBPS))
    rates[DOWN_S:UP_S] = gbps_to_pps(2)
    return Trace("4, 2, 4 Gbps", rates, 1.0, 64)


def row_of(episode: Episode, second: float) -> int:
    """The reading that covers the second from `second` on; a late one covers several."""
    row = int(np.searchsorted(episode.chain["time_s"], second + 0.5))
    return min(row, len(episode) - 1)


def blocked_at_once(episode: Episode) -> bool:
    """Whether the first check after the step, and none before, blocks one of every type."""
    blocks = episode.types["blocks"]
    first, up = row_of(episode, DOWN_S + SEEN), row_of(episode, UP_S)
    return bool(
        not blocks[:first].any()
        and (blocks[first] == 1).all()
        and (episode.types["running"][first:up] == 1).all()
    )


def rerun_not_launched(episode: Episode) -> bool:
    """Whether the second step reruns NF1 at its first check, all in the end, and launches none."""
    reruns = episode.types["reruns"]
    first = row_of(episode, UP_S + SEEN)
    return bool(
        not episode.types["launches"].any()
        and not reruns[:first].any()
        and reruns[first, 0] == 1
        and (reruns.sum(axis=0) == 1).all()
        and (episode.types["running"][-1] == 2).all()
    )


def late_share(episode: Episode) -> float:
    """Packets lost outside the second step's interval / packets lost within it."""
    lost = episode.chain["dropped_pps"] * episode.chain["interval_s"]
    within = lost[row_of(episode, UP_S)]
    outside = lost.sum() - within
    if outside <= 0:
        return 0.0
    return float(outside / within) if within > 0 else float("inf")


def draw(figure: Figure, episode: Episode) -> None:
    """Throughput above, instances of NF1 below."""
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    time = episode.chain["time_s"]
    top.step(time, episode.chain["offered_pps"] / 1e6, "k--", where="pre", label="offered")
    top.plot(time, episode.chain["delivered_pps"] / 1e6, "o-", label="throughput")
    top.plot(time, episode.chain["dropped_pps"] / 1e6, "x-", label="drops")
    top.set_ylabel("Mpps")
    top.set_ylim(bottom=0)
    top.legend(loc="lower left")
    bottom.step(time, episode.types["running"][:, 0], where="pre")
    bottom.set_ylabel("instances of NF1")
    bottom.set_ylim(0, 3)
    bottom.set_xlabel("time, s")
    for axes in (top, bottom):
        for step in (DOWN_S, UP_S):
            axes.axvline(step, color="0.7", linewidth=1)
        axes.grid(alpha=0.3)


def _claim(runner: Runner, name: str, right: list[bool]) -> Claim:
    return Claim(
        name,
        f"in {sum(right)} of {len(right)} runs",
        "18 of 20" if runner.reproducible else "most",
        runner.enough(right),
    )
