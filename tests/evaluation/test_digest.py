"""Digests of decisions."""

from __future__ import annotations

import hashlib

import numpy as np

from flexnfv.chain import load_chain
from flexnfv.decision import Decision
from flexnfv.evaluation.digest import Digests
from flexnfv.evaluation.episodes import run_episodes
from flexnfv.model import ModelBackend
from flexnfv.policy_batch import PolicyBatch
from flexnfv.traces import load_trace


def test_a_digest_is_that_of_the_decisions_of_the_row_s_episode() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 9, (600, 2, 3))
    digests = Digests(2)
    for interval, of_both in enumerate(targets):
        alive = np.arange(2) if interval < 300 else np.arange(1)
        digests.add(Decision(of_both, spares=of_both + 1), alive)
    for row, length in ((0, 600), (1, 300)):
        # Fields in their order: targets, mapping (kept), spares.
        fields = np.stack([targets, np.full(targets.shape, -1), targets + 1], axis=1)
        content = fields[:length, :, row].astype("<i8").tobytes()
        assert digests.hex()[row] == hashlib.sha256(content).hexdigest()


def test_a_row_s_digest_does_not_depend_on_the_batch() -> None:
    chain = load_chain("edge")
    traces = [
        load_trace(f"synthetic/flash_crowd?end={end}&peak=2e7&step=1") for end in (40, 300, 310)
    ]
    specs = ["target_tracking", "watermark", "target_tracking:target=0.5"]

    def digests(rows: list[int]) -> list[str]:
        outcomes = run_episodes(
            PolicyBatch([specs[row] for row in rows]),
            ModelBackend(chain),
            [traces[row] for row in rows],
            [0] * len(rows),
        )
        return [outcome.decisions for outcome in outcomes]

    together = digests([0, 1, 2])
    assert together == [digests([row])[0] for row in range(3)]
    assert len(set(together)) == 3
