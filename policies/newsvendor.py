"""The empirical newsvendor: as many instances as their expected use pays for.

A newsvendor stocks up to the quantity at which the expected gain of one more no longer covers its
price (Arrow, Harris and Marschak, "Optimal Inventory Policy", Econometrica 19(3), 1951). With the
distribution of demand taken from what was observed (Levi, Perakis and Uichanco, "The Data-Driven
Newsvendor Problem", Operations Research 63(6), 2015), nothing is assumed of its shape and nothing
is trained. Here an interval is a day, an instance a newspaper, and the demand of the next interval
is that of this one times a change that this link has shown before.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from flexnfv.chain import ServiceChain
from flexnfv.compiled import compiled, plain
from flexnfv.decision import Decision
from flexnfv.parameters import check, per_type, whole_from_one
from flexnfv.policies.parking import check_park_timeout, decision
from flexnfv.policy import BasePolicy, Foreseen
from flexnfv.reading import Reading
from flexnfv.states import STOPPED

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PSEUDO_CHANGES: Final = (1.0, 0.9, 1.1, 0.8, 1.2, 0.7, 1.3, 1.7, 1.0)
"""Changes that a link which has not shown any yet is taken to have shown, as ratios."""
SILENCE: Final = 0.01
"""Instances: a lower need counts as this one, since a change from nothing has no ratio."""


def paid_for(
    need: FloatArray,
    present: IntArray,
    ratios: FloatArray,
    known: int,
    newest: int,
    memory: IntArray,
    worth: FloatArray,
    kept_price: FloatArray,
    most: IntArray,
    counts: IntArray,
) -> None:
    """The instances whose use pays for them, of each row and type; at least one.

    The use of the j-th instance is the mean over the remembered changes of
    clip(need x change - (j - 1), 0, 1); it never rises with j.

    Args:
        need: of the last interval, instances, [B, T].
        present: instances that are not stopped, [B, T].
        ratios: changes of the need from one interval to the next, as a ring, [B, T, M].
        known: changes that the ring holds.
        newest: place of the newest.
        memory: changes that each row goes by, [B].
        worth: what a use of 1 in every interval is worth, cores, [B, T].
        kept_price: what running an instance costs that is there anyway, cores, [B].
        most: instances at most, [T].
        counts: filled, [B, T].
    """
    rows, types = need.shape
    length = ratios.shape[2]
    full = np.zeros(np.max(most) + 1)
    part = np.zeros(np.max(most) + 1)
    for row in range(rows):
        remembered = min(memory[row], known)
        for t in range(types):
            full[:] = 0.0
            part[:] = 0.0
            place = newest
            for _ in range(remembered):
                expected = min(need[row, t] * ratios[row, t, place], float(most[t]))
                whole = int(expected)
                full[whole] += 1.0
                part[whole] += expected - whole
                place = place - 1 if place > 0 else length - 1
            above = float(remembered)  # changes that fill an instance and the ones before it
            count = 0
            for j in range(most[t]):
                above -= full[j]
                use = (above + part[j]) / remembered
                price = kept_price[row] if j < present[row, t] else 1.0
                if use * worth[row, t] < price:
                    break
                count = j + 1
            counts[row, t] = max(count, 1)


class Newsvendor(BasePolicy):
    """Runs every instance whose expected use, at the cost of a drop, is worth its core.

    The use of the j-th instance is averaged over this link's last changes of demand. It is run if
    drop_cost x use / (mean need of the type so far) is at least its price: a core, or what running
    costs more than being parked (1 - parked_weight) if it exists already. Types decide for
    themselves, although they see the same packets: what the tightest loses, the others need not
    carry, so that the losses of a chain are counted once for each type. All numbers may be arrays
    with one for each row of a batch.

    Args:
        drop_cost: what losing one interval's mean traffic costs, in core intervals.
        memory: changes of demand that are remembered.
        parked_weight: what a parked core costs, relative to a running one; the chain's own if none.
        park_timeout: intervals that a parked instance is kept; for ever if none.

    Raises:
        ValueError: a parameter out of its range.
    """

    batched: ClassVar[bool] = True
    vectorised: ClassVar[tuple[str, ...]] = ("drop_cost", "memory", "parked_weight", "park_timeout")
    state_names: ClassVar[tuple[str, ...]] = ("ratios", "before", "total", "seen")
    sweep: ClassVar[tuple[tuple[str, tuple[float, ...]], ...]] = (
        ("drop_cost", (10, 20, 30, 50, 100, 200, 300, 500, 1000, 2000, 3000, 10000)),
        ("memory", (64, 256, 1024)),
    )

    ratios: FloatArray | None
    before: FloatArray | None
    total: FloatArray | None
    seen: IntArray | None

    def __init__(
        self,
        drop_cost: float = 300.0,
        memory: int = 256,
        parked_weight: float | None = None,
        park_timeout: float | None = None,
    ) -> None:
        check("drop_cost", drop_cost, lambda v: (v > 0) & (v < np.inf), "be a number above 0")
        check("memory", memory, whole_from_one, "be a whole number from 1")
        if parked_weight is not None:
            check("parked_weight", parked_weight, lambda v: (v >= 0) & (v <= 1), "lie in [0, 1]")
        check_park_timeout(park_timeout)
        self.drop_cost = drop_cost
        self.memory = np.asarray(memory, np.int64)
        self.parked_weight = parked_weight
        self.park_timeout = park_timeout

    def reset(
        self, chain: ServiceChain, seed: int | None = None, *, trace: Foreseen = None
    ) -> None:
        """Forget the link, and compile now: that takes longer than an interval may."""
        super().reset(chain, seed)
        given = self.drop_cost, self.memory, self.parked_weight, self.park_timeout
        batch = np.broadcast_shapes(*map(np.shape, given))
        self.decide(Reading.zeros(chain.types, chain.slots, batch))
        super().reset(chain, seed)

    def decide(self, reading: Reading) -> Decision | IntArray:
        """Targets by expected use, [..., T], and the spares if there is a timeout."""
        chain = self.chain
        need = reading.demand_pps(chain) / chain.capacity_pps
        there = (reading.state != STOPPED).sum(axis=-1)
        self._remember(np.maximum(need, SILENCE))
        targets = self._targets(there)
        return decision(targets, reading, chain, self.park_timeout)

    def _remember(self, need: FloatArray) -> None:
        """Add the change that led to this need, [..., T], and the need itself to their mean."""
        if self.ratios is None or self.before is None or self.total is None or self.seen is None:
            length = max(int(np.max(self.memory)), len(PSEUDO_CHANGES))
            self.ratios = np.zeros((*need.shape, length))
            self.ratios[..., : len(PSEUDO_CHANGES)] = PSEUDO_CHANGES
            self.before, self.total = need, need.copy()
            self.seen = np.ones((), np.int64)
            return
        place = (len(PSEUDO_CHANGES) + int(self.seen) - 1) % self.ratios.shape[-1]
        self.ratios[..., place] = need / self.before
        self.before = need
        self.total += need
        self.seen = self.seen + 1

    def _targets(self, there: IntArray) -> IntArray:
        """The instances that are paid for, given those that are not stopped, [..., T]."""
        assert self.ratios is not None and self.before is not None
        assert self.total is not None and self.seen is not None
        types, length = self.chain.types, self.ratios.shape[-1]
        rows = self.before.reshape(-1, types).shape
        known = len(PSEUDO_CHANGES) + int(self.seen) - 1
        parked = self.chain.parked_weight if self.parked_weight is None else self.parked_weight
        worth = per_type(self.drop_cost) * int(self.seen) / self.total
        counts = np.empty(rows, np.int64)
        compiled(paid_for)(
            plain(self.before).reshape(rows),
            plain(there).reshape(rows),
            self.ratios.reshape(*rows, length),
            min(known, length),
            (known - 1) % length,
            np.broadcast_to(self.memory, rows[:1]).copy(),
            plain(worth).reshape(rows),
            np.broadcast_to(1.0 - np.asarray(parked), rows[:1]).copy(),
            self.chain.max_instances.copy(),
            counts,
        )
        return counts.reshape(there.shape)
