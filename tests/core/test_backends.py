"""Backends are found by name through entry points, ours and others' alike."""

from __future__ import annotations

import pickle
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from flexnfv import backends
from flexnfv.backend import Backend, Single
from flexnfv.chain import load_chain
from flexnfv.errors import InputError
from flexnfv.model import ModelBackend
from flexnfv.traces import Trace

CHAIN = load_chain("paper")


def test_the_model_comes_through_the_door_that_others_use() -> None:
    made = backends.make_backend("model", CHAIN, substeps=5)
    assert isinstance(made, ModelBackend)
    assert isinstance(made, Backend)
    assert made.model.substeps == 5


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="model"):
        backends.make_backend("modell", CHAIN)


def test_an_option_that_the_backend_does_not_take_is_named() -> None:
    with pytest.raises(InputError, match="pacing"):
        backends.make_backend("model", CHAIN, pacing="slow")


def test_a_third_partys_backend_is_made_like_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = EntryPoint("theirs", "flexnfv.model:ModelBackend", backends.GROUP)
    monkeypatch.setattr(backends, "entry_points", lambda group: (theirs,))
    assert list(backends.registered()) == ["theirs"]
    assert isinstance(backends.make_backend("theirs", CHAIN), ModelBackend)


def test_a_backend_that_cannot_be_imported_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken", "flexnfv.no_such_module:Backend", backends.GROUP)
    monkeypatch.setattr(backends, "entry_points", lambda group: (broken,))
    with pytest.raises(InputError, match="backend 'broken'"):
        backends.make_backend("broken", CHAIN)


def test_a_pickled_model_continues_as_the_original() -> None:
    one = Single(backends.make_backend("model", CHAIN))
    one.reset(Trace("given", np.linspace(1e6, 9e6, 10), 1.0), 3)
    other = pickle.loads(pickle.dumps(one))
    for targets in ([1, 1, 1], [2, 1, 3], [1, 2, 2]):
        assert one.step(np.array(targets)) == other.step(np.array(targets))
