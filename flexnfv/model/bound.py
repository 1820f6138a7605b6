"""A cost that no policy goes below, whatever it foresees: the proven end of every comparison.

**Statement.** Over the N intervals of an episode, the first one included, let

    J = mean core usage + w x mean parked cores + λ x lost / offered packets.

`lower_bound` is at most the J of every sequence of decisions (targets, mappings, spares) on the
model, with that seed; without a seed, on the model with any. No instance dies by chance or is
killed.

**One type alone.** Let a type have h(n) instances that are not stopped at the end of interval n, of
which f(n) were launched by n's decision, p(n) are parked, and a(n) = h(n) - f(n) - p(n) are awake
and older: n costs a + f + w p of its instances' cores. Of the packets that are to pass the type,
let X(n) be those that are lost in n at it or before it, D(n) those offered, B(n) those that wait at
its end at the type or upstream of it. Packets are conserved: X(n) = D(n) + B(n-1) - B(n) -
served(n). What an instance serves that only drains lay in its ring, so in B(n-1); any other serves
at most its rate x (1 + jitter), which the seed tells, and what waits at the type at the end lies in
the rings of awake instances. With U for the most that rings upstream can hold (and what is on its
way back), C(j) for what the j ablest slots serve in n and hold in their rings, c(j) = C(j) -
C(j-1), and e for what an instance launched in n still serves in it and holds in its ring,

    X(n) >= max(0, A(n) - C(a(n)) - E(n)),  A(n) = D(n) - U,

where E sums min(e, c(j)) over j = a+1 .. a+f: the best is that the ablest are the older ones.

**Levels.** Level j = 1, 2, ... is held in n if h(n) >= j, runs if a(n) >= j, is fresh if h(n-1) < j
<= h(n), is parked if it is held and neither. Then a + f + w p is the sum of 1 over levels that run
or are fresh and w over those that are parked, since a <= h(n-1). Let u(j) = min(max(0, A - C(j-1)),
c(j)), so that max(0, A - C(a)) is the sum of u over the levels above a, plus what all levels
together cannot take.

- Where launches and reruns take less than an interval, whoever launches has all held instances
  rerun by the end of n (`flexnfv.scaling.plan` launches last), so that f > 0 means a = h(n-1). At
  most F = most - least instances are launched. A fresh level loses v(j) = min(u(j) of A - e F
  instead of A, c(j) - min(e, c(j))). The sum of v over the fresh levels and u over those above
  them, S, is at most X: with b = a + f, if A >= C(b) then S is at most A - C(b) + C(b) - C(a) - E;
  else only fresh levels lose, at most max(0, A - e F - C(a)).
- Otherwise f counts all that are being launched at the end of n, and a launch is taken to be over
  after the whole intervals that its quickest takes: it costs its core and serves nothing in these
  alone. A level is fresh in as many intervals after it comes to be held; f is at least the number
  of such levels, and only instances that were held in all of these intervals run, so only such
  levels. Giving up a launch under way is dearer than to stay off.

So X is at least what its levels lose. Only what is parked at the end of n-1 can be stopped in n, so
that h(n) >= a(n-1) + f(n-1): a level is parked before it is off. What levels do is therefore one of
the lives that `flexnfv.model.levels.cheapest` chooses from, each level by itself: off; launching at
the price of a core; running at 1; parked at w; from parked to running, or off again. Park timeouts,
core budgets, how flows spread, reruns' latencies and overload penalties can only make a policy
dearer. Levels up to the least run always, and the first interval is that of the initial instances.

**All types.** A packet is lost once: for parts q(t, n) >= 0 that add up to at most 1 over the types
of every path, the packets lost in n are at least the sum of q X over types. Hence N J is at least
the sum over types of the least of cores + w parked cores + λ N / offered x (sum over n of q X), for
any parts. Subgradient steps raise them; how far they get is no matter of correctness.

**How tight.** What it leaves out costs a policy something: flows spread in lumps, rings upstream
are not full in every interval, and types choose whole instances together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled
from flexnfv.model.backend import rates_of
from flexnfv.model.levels import (
    Launch,
    Levels,
    Lives,
    Scratch,
    cheapest,
    launch_of,
    levels_of,
    new_lives,
    new_scratch,
)
from flexnfv.traces import Trace

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

STEPS = 60
"""Subgradient steps; 200 raise the bound by at most 0.4 % on twenty real series."""
FIRST_STEP = 0.5
STEP_DECAY = 0.5
"""Step i moves parts by `FIRST_STEP` / (1 + i `STEP_DECAY`), relative to the interval's losses."""


def lower_bound(
    chain: ServiceChain,
    trace: Trace,
    drop_cost: float,
    parked_weight: float | None = None,
    seed: int | None = None,
    *,
    substeps: int = 10,
) -> float:
    """A cost J(λ, w) that no policy goes below on a trace.

    Args:
        chain: the chain.
        trace: the traffic; all of its whole intervals count.
        drop_cost: λ, in cores: what losing all packets would cost.
        parked_weight: w, the cost of a parked core relative to a running one; the chain's if None.
        seed: of the episode on the model, which tells its jitter; None: for every seed (with edge's
            jitter of 2 % up to 2 % lower).
        substeps: of the model.

    Raises:
        InputError: the trace is shorter than two intervals.
        ValueError: a cost below 0, or a weight outside 0..1.
    """
    return float(lower_bounds(chain, trace, drop_cost, parked_weight, seed, substeps=substeps))


def lower_bounds(
    chain: ServiceChain,
    trace: Trace,
    drop_cost: npt.ArrayLike,
    parked_weight: npt.ArrayLike | None = None,
    seed: int | None = None,
    *,
    substeps: int = 10,
) -> FloatArray:
    """`lower_bound` for many costs and weights at once, of the shape that they have together."""
    weight = chain.parked_weight if parked_weight is None else parked_weight
    costs, weights = np.broadcast_arrays(
        np.asarray(drop_cost, np.float64), np.asarray(weight, np.float64)
    )
    if not ((costs >= 0.0) & (costs < np.inf)).all():
        raise ValueError(f"drop_cost is {drop_cost!r}, it must be 0 or more")
    if not ((weights >= 0.0) & (weights <= 1.0)).all():
        raise ValueError(f"parked_weight is {parked_weight!r}, it must lie in [0, 1]")
    offered = rates_of(trace, chain, substeps)
    packets = float(offered.sum()) * chain.interval_s / offered.shape[1]
    levels = levels_of(chain, offered, seed, substeps)
    found = np.empty(costs.shape)
    for place in np.ndindex(costs.shape):
        price = float(costs[place]) * len(offered) / packets if packets > 0.0 else 0.0
        found[place], _, _ = decouple(chain, levels, price, float(weights[place]))
    return found / len(offered)


def decouple(
    chain: ServiceChain,
    levels: Levels,
    price: float,
    parked_weight: float,
    *,
    launch: Launch | None = None,
    steps: int = STEPS,
) -> tuple[float, FloatArray, Lives]:
    """The cheapest lives of all levels, each type paying for its part of what is lost.

    Args:
        chain: T NF types.
        levels: of its types in N intervals.
        price: of a lost packet, in core intervals.
        parked_weight: of a parked core.
        launch: how levels are launched; at the quickest if None.
        steps: of raising the parts.

    Returns:
        What they cost, in core intervals; each type's part of the price, [T, N]; the lives.
    """
    types, _, intervals = levels.idle.shape
    on_path = np.zeros((len(chain.paths), types), np.bool_)
    for path, row in zip(chain.paths, on_path, strict=True):
        row[list(path)] = True
    # A packet is worth as many cores at a type as serving it takes there.
    parts = np.where(on_path.any(axis=0), levels.cost / chain.capacity_pps, 0.0)
    parts = np.repeat(parts[:, None] / (on_path @ parts).max(), intervals, axis=1)
    lives = new_lives(types, intervals)
    total = compiled(raise_parts)(
        levels,
        price,
        parked_weight,
        launch_of(chain) if launch is None else launch,
        on_path,
        parts,
        lives,
        new_scratch(intervals),
        steps,
        FIRST_STEP,
        STEP_DECAY,
    )
    return float(total), parts, lives


def raise_parts(
    levels: Levels,
    price: float,
    parked_weight: float,
    launch: Launch,
    on_path: npt.NDArray[np.bool_],
    parts: FloatArray,
    lives: Lives,
    x: Scratch,
    steps: int,
    first_step: float,
    decay: float,
) -> float:
    """Raise what the types' cheapest lives cost together by shifting parts of the price.

    In an interval in which types lose differently, a type that loses more pays for more.

    Args:
        levels, price, parked_weight: see `decouple`.
        launch: see `Launch`.
        on_path: whether a type is on a path, [P, T].
        parts: to start from, [T, N]; the best that were found.
        lives: filled: the cheapest lives with the last parts that were tried.
        x: scratch space.
        steps: how many parts to try.
        first_step, decay: see `STEP_DECAY`.

    Returns:
        The highest cost that was found.
    """
    types, intervals = parts.shape
    best = -1.0
    tried = parts.copy()
    own = np.empty(intervals)
    for step in range(steps):
        total = 0.0
        for t in range(types):
            for n in range(intervals):
                own[n] = price * tried[t, n]
            total += cheapest(t, levels, own, parked_weight, launch, x, lives)
        if total > best:
            best = total
            parts[:] = tried
        for n in range(intervals):
            shift(n, on_path, lives.lost, first_step / (1.0 + step * decay), tried)
    return best


def shift(
    n: int, on_path: npt.NDArray[np.bool_], lost: FloatArray, step: float, parts: FloatArray
) -> None:
    """Shift parts of interval n to types that lose more, [T, N] each; paths' parts stay at 1."""
    types = parts.shape[0]
    most = 0.0
    mean = 0.0
    for t in range(types):
        most = max(most, lost[t, n])
        mean += lost[t, n] / types
    if most == 0.0:
        return
    for t in range(types):
        if parts[t, n] > 0.0 or lost[t, n] > 0.0:
            parts[t, n] = max(0.0, parts[t, n] + step * (lost[t, n] - mean) / most)
    fullest = 0.0
    for p in range(on_path.shape[0]):
        total = 0.0
        for t in range(types):
            if on_path[p, t]:
                total += parts[t, n]
        fullest = max(fullest, total)
    for t in range(types):
        if fullest > 0.0:
            parts[t, n] /= fullest
