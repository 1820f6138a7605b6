"""What is different where a chain runs on a clock: few rows, no waiting, peaks that are carried."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flexnfv.backends import carried_pps
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.errors import InputError

if TYPE_CHECKING:
    from flexnfv.train.arguments import Args

LENGTH_S = 1800.0
"""Length of a run on a live chain."""


def rows(chain: ServiceChain) -> int:
    """Rows of experience that a run on a live chain gives."""
    return round(LENGTH_S / chain.interval_s) * chain.types


def peaks(args: Args, chain: ServiceChain) -> tuple[float, float]:
    """Lowest and highest peak of training episodes, packets/s, none above what is carried."""
    low, high = (share * chain.peak_pps for share in args.peaks)
    most = carried_pps(args.backend, args.backend_options)
    return min(low, most), min(high, most)


def check(args: Args) -> None:
    """Refuse to train from the beginning on a live chain.

    Raises:
        InputError: there is nothing to go on with.
    """
    if args.init_from is None:
        raise InputError(
            "trains no network from its beginning: that takes too long in real time",
            where=f"--backend {args.backend}",
            fix="name a run of the model's to go on with: --init-from RUN",
        )


def tell(args: Args) -> None:
    """Say before a run on a live chain what it will take, and what it trains on."""
    chain = load_chain(args.chain)
    assert args.rows is not None
    intervals = math.ceil(args.rows / chain.types / args.steps) * args.steps
    low, high = peaks(args, chain)
    print(
        f"live: {intervals} intervals of {chain.interval_s:g} s, "
        f"{intervals * chain.interval_s / 60:.1f} minutes and the starts of "
        f"{math.ceil(intervals / args.episode)} episodes; the last network is kept"
    )
    if high < args.peaks[1] * chain.peak_pps:
        print(
            f"live: peaks are {low / 1e6:.3g} to {high / 1e6:.3g} Mpps, the highest that is "
            f"carried at this scale, instead of up to {args.peaks[1] * chain.peak_pps / 1e6:.3g}"
        )
