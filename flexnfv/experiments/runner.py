"""Runs the episodes of experiments on one backend, each of them once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from flexnfv.backend import Backend
from flexnfv.backends import make_backend
from flexnfv.chain import ServiceChain
from flexnfv.errors import BackendError, InputError
from flexnfv.evaluation.episodes import Tick, run_episode
from flexnfv.evaluation.records import Episode
from flexnfv.experiments.findings import Claim
from flexnfv.policy import Policy, make_policy
from flexnfv.records import RATE_WITHIN
from flexnfv.traces import Trace

KEPT_SHARE = 0.95
"""Share of the intervals of an experiment in which it must be kept."""

RIGHT_SHARE = 0.9
"""Share of seeded runs in which a claim must hold where runs are reproducible: 18 of 20."""


class Runner:
    """One backend by name, made anew for every chain; a context manager.

    Experiments that need the same episode (Table I and Fig. 2) share it.

    Args:
        backend: name of a registered backend.
        runs: runs per setting; run k has seed k.
        tick: told of every interval that passed.
        options: handed to the backend, such as `scale`.

    Attributes:
        seeds: one per run.
        reproducible: whether the backend gives the same readings for the same seed.
    """

    def __init__(
        self, backend: str, *, runs: int, tick: Tick | None = None, **options: Any
    ) -> None:
        self.name = backend
        self._tick = tick
        self.seeds: Sequence[int] = range(runs)
        self._options = options
        self._backend: Backend | None = None
        self._episodes: dict[tuple[ServiceChain, str, str, int], Episode] = {}
        self.reproducible = False
        self._rate_errors: list[npt.NDArray[np.float64]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def backend(self, chain: ServiceChain) -> Backend:
        """The backend, running `chain`; the one for another chain is closed first.

        Raises:
            InputError: the backend is not available here, or refuses the chain.
        """
        if self._backend is None or self._backend.chain != chain:
            self.close()
            self._backend = make_backend(self.name, chain, **self._options)
            self.reproducible = self._backend.description.deterministic
        return self._backend

    def try_out(self, chain: ServiceChain, trace: Trace) -> None:
        """Start an episode and leave it: a backend may find only then what it lacks.

        Raises:
            InputError, BackendError: the backend is not available here.
        """
        self.backend(chain).reset([trace], [0])

    def episode(self, chain: ServiceChain, policy: str, trace: Trace, seed: int) -> Episode:
        """The records of a policy on a trace; run when it is first asked for.

        Traces are told apart by their names.

        Raises:
            InputError: what policy or backend refuse.
            BackendError: the backend died.
        """
        key = (chain, policy, trace.name, seed)
        if key not in self._episodes:
            self._episodes[key] = self.run(chain, make_policy(policy), trace, seed)
        episode = self._episodes[key]
        self._rate_errors.append(rate_errors(episode, trace))
        return episode

    def episodes(self, chain: ServiceChain, policy: str, trace: Trace) -> list[Episode]:
        """One episode per seed."""
        return [self.episode(chain, policy, trace, seed) for seed in self.seeds]

    def run(
        self,
        chain: ServiceChain,
        policy: Policy,
        trace: Trace,
        seed: int,
        policy_chain: ServiceChain | None = None,
    ) -> Episode:
        """The records of a policy object, not kept; `policy_chain` as in `run_episode`."""
        return run_episode(
            policy, self.backend(chain), trace, seed, self._tick, policy_chain=policy_chain
        )

    def enough(self, right: Iterable[bool]) -> bool:
        """Whether a claim that is right in these runs holds.

        Where runs are reproducible: in 18 of 20. On a live chain: in most of them.
        """
        share = float(np.mean(list(right)))
        return share >= RIGHT_SHARE - 1e-9 if self.reproducible else share > 0.5

    def traffic(self) -> tuple[Claim, ...]:
        """Whether the episodes asked for since the last call were offered what they should be.

        A generator that other processes keep from the cores sends late and then too much: the
        other claims then say nothing of the chain. Nothing is claimed without an episode.
        """
        if not self._rate_errors:
            return ()
        off = np.concatenate(self._rate_errors)
        self._rate_errors.clear()
        return (traffic_claim(off),)

    def close(self) -> None:
        """Close the backend; may be called twice."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None


def rate_errors(episode: Episode, trace: Trace) -> npt.NDArray[np.float64]:
    """Relative distance of every reading's offered rate from the trace's over the same time.

    A late reading covers several intervals, so time counts, not the reading's number.
    """
    end = episode.chain["time_s"]
    wanted = trace.mean_between(end - episode.chain["interval_s"], end)
    return np.asarray(np.abs(episode.chain["offered_pps"] - wanted) / np.maximum(wanted, 1.0))


def traffic_claim(off: npt.NDArray[np.float64]) -> Claim:
    """Whether the offered rate was the trace's, from what `rate_errors` found."""
    kept = float((off <= RATE_WITHIN).mean())
    return Claim(
        "the traffic was the trace's",
        f"within {RATE_WITHIN:.0%} in {kept:.1%} of {off.size} intervals",
        f"{KEPT_SHARE:.0%}",
        kept >= KEPT_SHARE,
    )


def kept(stop: BaseException, where: Path) -> BaseException:
    """What ended an experiment early, saying as well where the finished part is."""
    text = f"what was finished is in {where}"
    match stop:
        case InputError():
            fix = "; ".join(filter(None, (stop.fix, text)))
            return InputError(stop.what, where=stop.where, fix=fix)
        case BackendError():
            return BackendError(f"{stop}; {text}")
        case _:
            return type(stop)(text)
