"""The paper's table and figures, on any backend, with the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from flexnfv.backends import description_of
from flexnfv.errors import BackendError, InputError
from flexnfv.evaluation.machine import made_with
from flexnfv.evaluation.progress import bar
from flexnfv.experiments import fig2, fig3, fig4, launch, pages, paper, table1
from flexnfv.experiments.findings import Finding
from flexnfv.experiments.runner import Runner, kept
from flexnfv.files import new_directory
from flexnfv.suggest import known

EXPERIMENTS: Final[Mapping[str, Callable[[Runner], Finding]]] = {
    "table1": table1.run,
    "fig2": fig2.run,
    "fig3": fig3.run,
    "fig4": fig4.run,
    "launch": launch.run,
}
"""Every experiment by its name, in the paper's order."""

HIGHEST_GBPS: Final = {
    "table1": max(paper.GBPS),
    "fig2": max(paper.GBPS),
    "fig3": fig3.HIGHEST_GBPS,
    "fig4": paper.LINE_RATE_GBPS,
    "launch": launch.GBPS,
}
"""Highest input rate of every experiment."""

RUNS: Final = 20
"""Runs per setting where the same seed gives the same readings."""
LIVE_RUNS: Final = 5
"""Runs per setting on any other backend; its most frequent outcome counts."""


@dataclass(frozen=True)
class Reproduction:
    """What was found.

    Attributes:
        findings: by backend.
        skipped: why a backend was left out.
        failed: why a backend did not finish, and in which experiment; what it had found is kept.
    """

    findings: Mapping[str, Sequence[Finding]]
    skipped: Mapping[str, str]
    failed: Mapping[str, str]

    @property
    def holds(self) -> bool:
        """Whether every claim on every backend does, and none failed."""
        return not self.failed and all(
            one.holds for group in self.findings.values() for one in group
        )


def reproduce(
    names: Sequence[str],
    backends: Sequence[str],
    out: Path,
    *,
    options: Mapping[str, Any] | None = None,
    runs: int | None = None,
    optional: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Reproduction:
    """Run experiments on backends and write data, figures and a report.

    Args:
        names: keys of `EXPERIMENTS`.
        backends: names of registered backends.
        out: directory to create.
        options: handed to every backend that is not deterministic, such as `scale`.
        runs: runs per setting; 20 where the backend is deterministic and 5 elsewhere if None.
        optional: those of the backends that are left out where they are not available.
        tell: given one line at the start of every experiment.

    Raises:
        InputError: an unknown name, `out` exists, or a backend that is not optional is not
            available or cannot carry the highest rate.
        BackendError: a backend that is not optional does not start.
        KeyboardInterrupt: what was finished is in `out`, if anything was.
    """
    for name in names:
        known(name, EXPERIMENTS, kind="experiment")
    found: dict[str, list[Finding]] = {}
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}
    described: dict[str, Any] = {}
    stop: BaseException | None = None
    with new_directory(out) as directory:
        try:
            for backend in backends:
                seeded = _deterministic(backend)
                count = runs or (RUNS if seeded else LIVE_RUNS)
                given = {} if seeded else dict(options or {})
                with (
                    bar(f"on {backend}", count * _intervals(names)) as tick,
                    Runner(backend, runs=count, tick=tick, **given) as runner,
                ):
                    chain = paper.chain()
                    highest = max(HIGHEST_GBPS[name] for name in names)
                    try:
                        runner.try_out(chain, paper.constant(highest, chain))
                    except (InputError, BackendError) as error:
                        if backend not in optional:
                            raise
                        skipped[backend] = str(error)
                        tell(f"{backend}: skipped: {error}")
                        continue
                    described[backend] = asdict(runner.backend(chain).description) | {"runs": count}
                    found[backend] = []
                    for name in names:
                        tell(f"{backend}: {name}")
                        try:
                            finding = EXPERIMENTS[name](runner)
                        except (InputError, BackendError) as error:
                            failed[backend] = f"{name}: {error}"
                            break
                        claims = (*runner.traffic(), *finding.claims)
                        found[backend].append(replace(finding, claims=claims))
        except (InputError, BackendError, KeyboardInterrupt) as error:
            if not any(found.values()):
                raise
            stop = error
        facts = made_with() | described
        facts |= {f"{backend} skipped": why for backend, why in skipped.items()}
        facts |= {f"{backend} failed": how for backend, how in failed.items()}
        if stop is not None:
            facts["incomplete"] = str(stop) or "interrupted"
        pages.write(directory, "The paper's evaluation, reproduced", found, facts)
    if stop is not None:
        raise kept(stop, out)
    return Reproduction(found, skipped, failed)


def _deterministic(backend: str) -> bool:
    """Whether a backend promises that; one that is not available is found out when it is tried."""
    try:
        return description_of(backend).deterministic
    except InputError:
        return False


def _intervals(names: Sequence[str]) -> int:
    """Intervals of one run of every experiment; Table I and Fig. 2 share theirs."""
    episodes = 2 * len(paper.GBPS) if {"table1", "fig2"} & set(names) else 0
    episodes += 3 if "fig4" in names else 0
    stepped = fig3.END_S - 1 if "fig3" in names else 0
    return episodes * (paper.INTERVALS - 1) + stepped
