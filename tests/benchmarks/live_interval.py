"""Whether the live backend keeps its interval: late ones, and how late readings are taken.

    python -m tests.benchmarks.live_interval [--interval S] [--seconds S] [--policy SPEC]

A paced chain under changing traffic, in closed loop. An interval is late when its edge had passed
before its targets came; those that the policy's own processor time explains are told apart from
those that the platform is to blame for. The exit code is 1 if one of the latter happened, or if the
99th percentile of the readings' lateness is above 2 ms.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flexnfv.backend import Single
from flexnfv.chain import ServiceChain, load_chain
from flexnfv.experiments.findings import Claim
from flexnfv.failures import run_program
from flexnfv.hw_backend.live import LiveBackend
from flexnfv.hw_backend.manager_process import place
from flexnfv.policy import make_policy
from flexnfv.traces import Trace, load_trace

JITTER_MS = 2.0
"""The readings' lateness, 99th percentile, at most."""


@dataclass(frozen=True)
class Punctuality:
    """What was found.

    Attributes:
        readings: that were taken.
        late: intervals whose targets came after their edge.
        late_by_policy: of these, those that the policy's own processor time explains.
        lag_s: how late each reading was taken.
        decision_s: processor time of each decision.
        off_rate: seconds in which the generator was off its rate by more than 1 %.
    """

    readings: int
    late: int
    late_by_policy: int
    lag_s: npt.NDArray[np.float64]
    decision_s: npt.NDArray[np.float64]
    off_rate: int

    @property
    def late_by_platform(self) -> int:
        """Late intervals that nothing but the platform explains."""
        return self.late - self.late_by_policy

    def lines(self) -> list[str]:
        """The figures, for people."""
        lag = np.percentile(self.lag_s, [50, 99, 100]) * 1e3
        decision = np.percentile(self.decision_s, [50, 99, 100]) * 1e3
        return [
            f"{self.readings} readings, {self.late} intervals late, {self.late_by_policy} of them "
            f"by the policy; {self.off_rate} s off the rate",
            "readings after their edge, ms: median {:.3f}, p99 {:.3f}, worst {:.3f}".format(*lag),
            "processor time of a decision, ms: median {:.3f}, p99 {:.3f}, worst {:.3f}".format(
                *decision
            ),
        ]

    def claims(self) -> tuple[Claim, ...]:
        """What must hold."""
        late_ms = float(np.percentile(self.lag_s, 99)) * 1e3
        return (
            Claim(
                "late intervals caused by the platform",
                f"{self.late_by_platform}",
                "0",
                self.late_by_platform == 0,
            ),
            Claim(
                "jitter, 99th percentile",
                f"{late_ms:.3f} ms",
                f"at most {JITTER_MS:g} ms",
                late_ms <= JITTER_MS,
            ),
        )


def blamed_on_policy(late: int, decision_s: float, interval_s: float) -> int:
    """Of intervals missed at one step, those that the decision alone would have missed."""
    return min(late, int(decision_s // interval_s))


def measure(chain: ServiceChain, policy: str, trace: Trace, scale: float) -> Punctuality:
    """One policy on a live chain through a trace."""
    decides = make_policy(policy)
    backend = LiveBackend(chain, scale=scale)
    one = Single(backend)
    try:
        decides.reset(chain, 0)
        reading = one.reset(trace, 0)
        decisions: list[float] = []
        by_policy = 0
        while one.remaining:
            before, late = time.thread_time_ns(), backend.late
            targets = decides.decide(reading)
            decisions.append((time.thread_time_ns() - before) * 1e-9)
            reading = one.step(targets)
            by_policy += blamed_on_policy(backend.late - late, decisions[-1], chain.interval_s)
        return Punctuality(
            len(backend.lag_s),
            backend.late,
            by_policy,
            np.array(backend.lag_s),
            np.array(decisions),
            backend.timing.seconds_off_rate,
        )
    finally:
        backend.close()


def main() -> None:
    """Print the figures and a line per claim."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chain", default="paper")
    parser.add_argument("--policy", default="watermark")
    parser.add_argument("--interval", type=float, default=0.1)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--trace", default="synthetic/flash_crowd?duration_s={seconds}")
    parser.add_argument("--peak", type=float, default=8e6)
    parser.add_argument("--scale", type=float, default=1 / 20)
    given = parser.parse_args()

    def program() -> int:
        chain = load_chain(given.chain).replace(interval_s=given.interval)
        trace = load_trace(given.trace.format(seconds=given.seconds))
        trace = trace.cut(0.0, min(given.seconds, trace.duration_s)).scale_to_peak(given.peak)
        print(time.strftime("%Y-%m-%d %H:%M:%S"))
        print(
            f"chain {chain.name}, interval {chain.interval_s:g} s, {given.policy}, {trace.name}, "
            f"{trace.duration_s:g} s"
        )
        description = LiveBackend(chain, scale=given.scale).description
        print(f"{description.machine}; scale {description.scale:g}, pacing {description.pacing}")
        print(f"placement: {place(sorted(os.sched_getaffinity(0)))}", flush=True)
        found = measure(chain, given.policy, trace, given.scale)
        for line in [*found.lines(), *(claim.line() for claim in found.claims())]:
            print(line, flush=True)
        return 0 if all(claim.holds for claim in found.claims()) else 1

    raise SystemExit(run_program(parser.prog, program))


if __name__ == "__main__":
    main()
