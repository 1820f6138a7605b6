"""What the paper measured (Sec. V), and the traffic that it measured it with.

Only figures that the paper's text and table state; the rest of its plots is read off no picture.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.traces import Trace, gbps_to_pps

GBPS: Final = (2, 3, 4, 5, 6)
"""Input rates of Table I and Fig. 2."""

INSTANCES: Final = {
    "NF1": (1, 2, 2, 3, 4),
    "NF2": (1, 2, 2, 2, 3),
    "NF3": (1, 1, 2, 2, 2),
}
"""Table I: instances under FlexNFV, per input rate."""

OPENNETVM_DROPS_MPPS: Final = (0.0, 0.03, 1.59, 3.21, 4.63)
"""Table I: NF1's drop rate under OpenNetVM, Mpps, per input rate."""

FLEXNFV_DROPS_MPPS: Final = (0.0, 0.0, 0.0, 0.0, 0.0)
"""Table I: NF1's drop rate under FlexNFV, Mpps, per input rate."""

FACTOR_AT_6_GBPS: Final = 2.0
"""Fig. 2: FlexNFV's throughput / OpenNetVM's at 6 Gbps."""

NFVNICE_MPPS: Final = 6.46
"""Fig. 4: NFVnice, copied by the paper from NFVnice's own article (another testbed)."""

FLEXNFV_OVER_NFVNICE_MPPS: Final = 1.13
"""Fig. 4: what FlexNFV has more than NFVnice, Mpps: 17.5 %."""

FIG4_FACTOR: Final = 1.175
"""Fig. 4: FlexNFV's throughput / NFVnice's."""

LAUNCH_MS: Final = 998.0
"""Sec. V-C: launch of a new instance: message, initialisation, id assignment, start."""

LINE_RATE_GBPS: Final = 10.0
"""Fig. 4's input."""

FLEXNFV: Final = "watermark"
"""The paper's scaling law."""
OPENNETVM: Final = "static"
"""OpenNetVM never scales."""

INTERVALS: Final = 12
"""Length of a run at one rate; the law has answered by the sixth interval."""
SETTLED: Final = 5
"""The last intervals of such a run, which the reported rates are means of."""


def chain() -> ServiceChain:
    """The chain of Table I and Figs. 2 and 3, with the flow set that belongs to Table I."""
    return load_chain("paper")


def doubled() -> ServiceChain:
    """The same, starting with two instances of every NF type (Fig. 3)."""
    one = chain()
    return one.replace(
        nf=[nf.model_dump() | {"initial_instances": 2} for nf in one.nf],
    )


def reverse() -> ServiceChain:
    """The chain of Fig. 4."""
    return load_chain("paper-reverse")


def constant(gbps: float, of: ServiceChain, intervals: int = INTERVALS) -> Trace:
    """A constant input rate in the paper's unit, for some intervals of a chain."""
    rate = gbps_to_pps(gbps, of.packet_bytes)
    return Trace(f"{gbps:g} Gbps", np.full(intervals, rate), of.interval_s, of.packet_bytes)
