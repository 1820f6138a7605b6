"""Runs the episodes of experiments on one backend, each of them once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from flexnfv.backend import Backend
from flexnfv.backends import make_backend
from flexnfv.chain import ServiceChain
from flexnfv.evaluation.episode import run_episode
from flexnfv.evaluation.records import Episode
from flexnfv.policy import Policy, make_policy
from flexnfv.traces import Trace

RIGHT_SHARE = 0.9
"""Share of seeded runs in which a claim must hold where runs are reproducible: 18 of 20."""


class Runner:
    """One backend by name, made anew for every chain; a context manager.

    Experiments that need the same episode (Table I and Fig. 2) share it.

    Args:
        backend: name of a registered backend.
        runs: runs per setting; run k has seed k.
        options: handed to the backend, such as `scale`.

    Attributes:
        seeds: one per run.
        reproducible: whether the backend gives the same readings for the same seed.
    """

    def __init__(self, backend: str, *, runs: int, **options: Any) -> None:
        self.name = backend
        self.seeds: Sequence[int] = range(runs)
        self._options = options
        self._backend: Backend | None = None
        self._episodes: dict[tuple[ServiceChain, str, str, int], Episode] = {}
        self.reproducible = False

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
        return self._episodes[key]

    def episodes(self, chain: ServiceChain, policy: str, trace: Trace) -> list[Episode]:
        """One episode per seed."""
        return [self.episode(chain, policy, trace, seed) for seed in self.seeds]

    def run(self, chain: ServiceChain, policy: Policy, trace: Trace, seed: int) -> Episode:
        """The records of a policy object, which are not kept."""
        return run_episode(policy, self.backend(chain), trace, seed)

    def enough(self, right: Iterable[bool]) -> bool:
        """Whether a claim that is right in these runs holds.

        Where runs are reproducible: in 18 of 20. On a live chain: in most of them.
        """
        share = float(np.mean(list(right)))
        return share >= RIGHT_SHARE - 1e-9 if self.reproducible else share > 0.5

    def close(self) -> None:
        """Close the backend; may be called twice."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None
