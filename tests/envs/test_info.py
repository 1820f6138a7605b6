"""The info of the single environment: a dict whose reading is made when it is asked for."""

from __future__ import annotations

import copy
import pickle

import numpy as np

from flexnfv.envs.service_chain import ServiceChainEnv
from flexnfv.reading import Reading
from tests.envs.episodes import LENGTH, ramp


def test_a_reading_that_was_not_asked_for_is_still_that_of_its_step() -> None:
    env, twin = (ServiceChainEnv("paper", ramp(), episode=LENGTH) for _ in range(2))
    infos = [env.reset(seed=1)[1]]
    readings = [twin.reset(seed=1)[1]["reading"].copy()]
    for _ in range(LENGTH - 1):
        infos.append(env.step(np.full(3, 2))[4])
        readings.append(twin.step(np.full(3, 2))[4]["reading"].copy())
    assert [info["reading"] for info in infos] == readings
    assert infos[0]["reading"] is infos[0]["reading"]


def test_whichever_way_it_is_looked_at_the_reading_is_there() -> None:
    env = ServiceChainEnv("paper", ramp(), episode=LENGTH)

    def fresh() -> dict[str, object]:
        return env.reset(seed=1)[1]

    expected = fresh()["reading"]
    assert isinstance(expected, Reading)
    assert "reading" in fresh()
    assert fresh().get("reading") == expected
    assert fresh().get("nothing", 3) == 3
    assert dict(fresh())["reading"] == expected
    assert dict(fresh().items())["reading"] == expected
    assert {**fresh()}["reading"] == expected
    assert (fresh() | {"more": 1})["reading"] == expected
    assert any(value == expected for value in fresh().values() if isinstance(value, Reading))
    assert pickle.loads(pickle.dumps(fresh()))["reading"] == expected
    assert copy.deepcopy(fresh())["reading"] == expected
    assert fresh().copy()["reading"] == expected
