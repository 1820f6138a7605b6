"""Levers on their way from a policy to the chain, the record, the status and the shadows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet
from rich.console import Console

from flexnfv.chain import ServiceChain, load_chain
from flexnfv.decision import KEEP, Decision
from flexnfv.deploy import Deployment, deploy, wire
from flexnfv.deploy.answer import Answer, Fault, judge
from flexnfv.deploy.status import page
from flexnfv.evaluation.records import read_episode
from flexnfv.model import ModelBackend
from flexnfv.traces import Trace

COUNT = 12


class Witness(ModelBackend):
    """The model, and what it was told."""

    def step(self, decision, rows=None):
        self.told = [*getattr(self, "told", []), Decision.of(decision)[0]]
        return super().step(decision, rows)


def test_what_a_policy_wants_with_levers_reaches_the_backend_whole(
    wild: Path, chain: ServiceChain, waves: Trace
) -> None:
    backend = Witness(chain)
    with Deployment("levers", backend, trace=waves) as deployment:
        rows = list(deployment.rows(intervals=COUNT))
    assert [row.under for row in rows[1:]] == backend.told
    assert rows[0].under.levers == ()
    assert [row.under.levers for row in rows[1:]] == [("mapping",)] * 5 + [
        ("mapping", "spares")
    ] * 6
    assert rows[-1].under.mapping.tolist() == [2, KEEP, KEEP]
    assert rows[-1].under.spares.tolist() == [1, 1, 1]


def test_records_status_and_shadows_tell_of_levers(
    wild: Path, chain: ServiceChain, waves: Trace, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    status = deploy(
        "levers",
        chain,
        out=out,
        shadows=("levers:spares=0", "watermark"),
        trace=waves,
        intervals=COUNT,
        backend="model",
        deadline_s=1.0,
    )
    table = parquet.ParquetFile(out / "record.parquet").read()
    first, second = chain.nf_names[:2]
    shadow = "shadow.levers:spares=0"
    assert table[f"{first}.mapping"].to_pylist() == [KEEP] + [2] * 11
    assert table[f"{second}.mapping"].to_pylist() == [KEEP] * 12
    assert table[f"{second}.spares"].to_pylist() == [KEEP] * 6 + [1] * 6
    assert table[f"{shadow}.{second}.spares"].to_pylist() == [None] + [KEEP] * 5 + [0] * 6
    assert set(table[f"shadow.watermark.{first}.mapping"].to_pylist()[1:]) == {KEEP}
    np.testing.assert_array_equal(read_episode(out / "record.parquet").types["spares"][-1], 1)
    # The law wants the same targets, but leaves the mapping alone.
    assert [each["agreed"] for each in status["shadows"]] == [pytest.approx(5 / 11), 0.0]
    assert status["now"]["types"][0]["levers"] == {"mapping": "even", "spares": "1"}
    assert status["now"]["types"][1]["levers"] == {"mapping": "-", "spares": "1"}
    console = Console(width=120, record=True)
    console.print(page(status))
    assert "mapping spares" in " ".join(console.export_text().split())


def test_a_message_carries_every_field(chain: ServiceChain) -> None:
    sent = Answer(Decision(np.array([3, 1, 2]), spares=np.array([0, KEEP, 4])), decision_s=0.25)
    message = wire.unpack(wire.pack(wire.answer_message(sent, 7)))
    got = wire.message_answer(message, chain)
    assert (message.number, got.decision_s, got.fault) == (7, 0.25, None)
    assert got.decision == sent.decision
    assert got.decision.mapping is None


def test_a_mapping_that_would_part_flows_from_their_state_is_refused() -> None:
    chain = load_chain("six")
    stateful = list(chain.stateful)
    wanted = np.where(stateful, 0, KEEP)
    with pytest.raises(ValueError, match="keeps state per flow"):
        judge(Decision(np.ones(chain.types, np.int64), mapping=wanted), chain)
    judge(Decision(np.ones(chain.types, np.int64), mapping=np.where(stateful, 1, 0)), chain)


@pytest.mark.parametrize("lever", ["mapping=7", "spares=-5", "spares=0.5"])
def test_a_lever_that_makes_no_sense_leaves_the_interval_to_the_law(
    wild: Path, chain: ServiceChain, waves: Trace, lever: str
) -> None:
    with Deployment(f"levers:{lever}", ModelBackend(chain), trace=waves) as deployment:
        last = list(deployment.rows(intervals=8))[-1]
    assert last.decision is not None
    assert last.decision.answer.fault is Fault.INVALID
    assert last.decision.answer.detail.startswith(f"ValueError: {lever.partition('=')[0]} must")
    assert last.under.levers == ()
