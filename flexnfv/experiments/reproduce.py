"""The paper's table and figures, on any backend, with the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from flexnfv.errors import BackendError, InputError
from flexnfv.evaluation.machine import made_with
from flexnfv.experiments import fig2, fig3, fig4, launch, pages, paper, table1
from flexnfv.experiments.findings import Finding
from flexnfv.experiments.runner import Runner
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

RUNS: Final = {"model": 20}
"""Runs per setting where a backend has a number of its own."""
LIVE_RUNS: Final = 5
"""Runs per setting on any other backend; its most frequent outcome counts."""


@dataclass(frozen=True)
class Reproduction:
    """What was found.

    Attributes:
        findings: by backend.
        skipped: why a backend was left out.
        died: how a backend died, and in which experiment; what it had found before is kept.
    """

    findings: Mapping[str, Sequence[Finding]]
    skipped: Mapping[str, str]
    died: Mapping[str, str]

    @property
    def holds(self) -> bool:
        """Whether every claim on every backend does, and none died."""
        return not self.died and all(one.holds for group in self.findings.values() for one in group)


def reproduce(
    names: Sequence[str],
    backends: Sequence[str],
    out: Path,
    *,
    scale: float | None = None,
    runs: int | None = None,
    optional: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> Reproduction:
    """Run experiments on backends and write data, figures and a report.

    Args:
        names: keys of `EXPERIMENTS`.
        backends: names of registered backends.
        out: directory to create.
        scale: packet rates of a live chain relative to the paper's; the backend's own if None.
        runs: runs per setting; 20 on the model and 5 live if None.
        optional: those of the backends that are left out where they are not available.
        tell: given one line at the start of every experiment.

    Raises:
        InputError: an unknown name, `out` exists, or a backend that is not available.
        BackendError: a backend that is not optional does not start.
    """
    for name in names:
        known(name, EXPERIMENTS, kind="experiment")
    findings: dict[str, list[Finding]] = {}
    skipped: dict[str, str] = {}
    died: dict[str, str] = {}
    described: dict[str, Any] = {}
    with new_directory(out) as directory:
        for backend in backends:
            options = {} if backend == "model" or scale is None else {"scale": scale}
            count = runs or RUNS.get(backend, LIVE_RUNS)
            with Runner(backend, runs=count, **options) as runner:
                chain = paper.chain()
                try:
                    runner.try_out(chain, paper.constant(paper.GBPS[0], chain))
                except (InputError, BackendError) as error:
                    if backend not in optional:
                        raise
                    skipped[backend] = str(error)
                    tell(f"{backend}: skipped: {error}")
                    continue
                described[backend] = asdict(runner.backend(chain).description) | {"runs": count}
                findings[backend] = []
                for name in names:
                    tell(f"{backend}: {name}")
                    try:
                        found = EXPERIMENTS[name](runner)
                    except BackendError as error:
                        died[backend] = f"{name}: {error}"
                        break
                    claims = (*runner.traffic(), *found.claims)
                    findings[backend].append(replace(found, claims=claims))
        facts = made_with() | described
        facts |= {f"{backend} skipped": why for backend, why in skipped.items()}
        facts |= {f"{backend} died": how for backend, how in died.items()}
        pages.write(directory, "The paper's evaluation, reproduced", findings, facts)
    return Reproduction(findings, skipped, died)
