"""Specs of policies, traces and options: one grammar, values by their annotation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

from flexnfv.errors import InputError
from flexnfv.spec import (
    UnfitValue,
    Whole,
    annotated,
    bundle_of,
    convert,
    is_bundle,
    parse_pairs,
    plain,
    policy_spec,
    pretrained,
    trace_spec,
    with_pairs,
)
from flexnfv.traces import load_trace


@pytest.mark.parametrize(
    ("text", "head", "pairs"),
    [
        ("watermark", "watermark", {}),
        ("watermark:", "watermark", {}),
        ("watermark:high=0.5,low=", "watermark", {"high": "0.5", "low": ""}),
        ("third.party:a=b=c", "third.party", {"a": "b=c"}),
        ("best.onnx", "learned", {"bundle": "best.onnx"}),
        ("best.onnx:drop_cost=5", "learned", {"bundle": "best.onnx", "drop_cost": "5"}),
        ("run/12:30/a,b=c.onnx:d=5", "learned", {"bundle": "run/12:30/a,b=c.onnx", "d": "5"}),
        ("run/12:30/a.onnx", "learned", {"bundle": "run/12:30/a.onnx"}),
        ("learned:bundle=run/a.onnx", "learned", {"bundle": "run/a.onnx"}),
        ("learned:bundle='a,b=c.onnx',d=5", "learned", {"bundle": "a,b=c.onnx", "d": "5"}),
        ('"a b.onnx:x":d="5,6"', "learned", {"bundle": "a b.onnx:x", "d": "5,6"}),
        ("watermark:a='b'c", "watermark", {"a": "'b'c"}),
    ],
)
def test_a_policys_spec_falls_into_head_and_pairs(
    text: str, head: str, pairs: dict[str, str]
) -> None:
    spec = policy_spec(text)
    assert (spec.text, spec.head, dict(spec.pairs)) == (text, head, pairs)
    assert is_bundle(text) == (head == "learned")
    named = pairs.get("bundle")
    assert bundle_of(text) == (None if named is None else Path(named))


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("{}", {}),
        ("{}:drop_cost=300", {"drop_cost": "300"}),
        ("learned:bundle={},drop_target=0.001", {"drop_target": "0.001"}),
    ],
)
@pytest.mark.parametrize("name", list(pretrained()))
def test_a_pretrained_bundle_has_a_name_wherever_one_is_due(
    name: str, text: str, others: dict[str, str]
) -> None:
    path = pretrained()[name]
    spec = policy_spec(text.format(name))
    assert spec.head == "learned"
    assert spec.pairs == {"bundle": str(path), **others}
    assert is_bundle(text.format(name))
    assert bundle_of(text.format(name)) == path
    assert path.is_file()
    assert path.with_suffix(".md").is_file(), "a model card"


@pytest.mark.parametrize("text", ["pretrained/any-chian", "learned:bundle=pretrained/any-chian"])
def test_an_unknown_pretrained_bundle_is_answered_with_the_nearest(text: str) -> None:
    assert is_bundle(text)
    with pytest.raises(InputError) as refused:
        bundle_of(text)
    assert "did you mean 'pretrained/any-chain'?" in str(refused.value)


def test_a_file_of_ones_own_beats_a_pretrained_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pretrained").mkdir()
    Path("pretrained/any-chain").write_bytes(b"")
    assert bundle_of("pretrained/any-chain:drop_cost=5") == Path("pretrained/any-chain")
    assert bundle_of("pretrained/own.onnx") == Path("pretrained/own.onnx")


@pytest.mark.parametrize("name", ["a:b", "a,b=c", "a b", "a?b", "watermark"])
def test_a_file_that_exists_is_the_head_whatever_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"")
    assert policy_spec(f"{name}:drop_cost=5").pairs == {"bundle": name, "drop_cost": "5"}
    assert bundle_of(name) == Path(name)


def test_a_trace_file_with_marks_in_its_name_takes_keys(tmp_path: Path) -> None:
    path = tmp_path / "a?b=1&c.csv"
    path.write_text("t_s,pps\n0,1\n1,2\n")
    for text in (f"{path}?peak=4", f"'{path}'?peak=4"):
        assert trace_spec(text).head == str(path)
        assert load_trace(text).rate_pps.tolist() == [2, 4]
    assert load_trace(f"{path}?peak=4e+00").peak_pps == 4.0
    assert load_trace(f"{path}?peak=4e%2B00").peak_pps == 4.0


@pytest.mark.parametrize(
    ("parse", "text", "says"),
    [
        (policy_spec, "watermark:high", "'watermark:high': parameter 'high' has no value"),
        (policy_spec, "watermark:high='a,b", "parameter 'b' has no value"),
        (policy_spec, "watermark:high=1,high=2", "a key stands twice; give 'high' once"),
        (policy_spec, "a.onnx:bundle=b.onnx", "names two bundles"),
        (trace_spec, "a.csv?peak", "'peak' has no value, it is not of the form key=value"),
        (trace_spec, "a.csv?peak=1&peak=2", "a.csv?peak=1&peak=2: a key stands twice"),
    ],
)
def test_a_pair_that_is_none_is_named(parse: Any, text: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        parse(text)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_option_is_one_pair_whatever_it_holds() -> None:
    assert parse_pairs("folder=/a,b:c&d='e'", "", where="") == {"folder": "/a,b:c&d='e'"}
    assert parse_pairs("folder=' a '", "", where="") == {"folder": " a "}


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        ("1e3", int, 1000),
        ("3", float, 3.0),
        ("1/20", float, 0.05),
        ("inf", float, np.inf),
        ("False", bool, False),
        ("none", float | None, None),
        ("0.5", float | None, 0.5),
        ("12", str, "12"),
        ("12", str | Path, "12"),
        ("b", Literal["a", "b"], "b"),
        ("2", Literal[1, 2], 2),
        ("1,2e0", Sequence[float], [1.0, 2.0]),
        ("1,2", tuple[int, ...], (1, 2)),
        ("0", Whole, 0),
        ("2.5", float | npt.NDArray[np.float64], 2.5),
        ("2.5", Any, 2.5),
        ("1/4", Any, 0.25),
        ("algorithm1", Any, "algorithm1"),
    ],
)
def test_a_value_takes_the_type_that_is_stated(text: str, kind: Any, value: object) -> None:
    found = convert(text, kind)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("abc", float, "'abc' is not a number"),
        ("true", float, "'true' is not a number"),
        ("abc", float | None, "'abc' is not a number"),
        ("", float, "'' is not a number"),
        ("1.5", int, "'1.5' is not a whole number"),
        ("-1", Whole, "'-1' is not a whole number that is not negative"),
        ("maybe", bool, "'maybe' is not true or false"),
        ("c", Literal["a", "b"], "'c' is not one of a, b"),
        ("1,b", Sequence[float], "'b' is not a number"),
    ],
)
def test_a_value_that_does_not_fit_is_answered_with_what_would(
    text: str, kind: Any, says: str
) -> None:
    with pytest.raises(UnfitValue) as refused:
        convert(text, kind)
    assert str(refused.value) == says


@pytest.mark.parametrize("text", ["[" * 200, "a\0b", "1_0", "0x10", "nan", " 1", "'"])
def test_a_guess_never_fails(text: str) -> None:
    plain(text)


def test_what_states_no_type_takes_anything() -> None:
    def bare(a, b: int = 0): ...  # type: ignore[no-untyped-def]

    assert annotated(bare)["a"] is Any
    assert annotated(bare)["b"] is int


@pytest.mark.parametrize(
    ("text", "changes", "found"),
    [
        ("forecast", {"drop_cost": "30"}, "forecast:drop_cost=30"),
        ("forecast:drop_cost=5,window=3", {"drop_cost": "30"}, "forecast:drop_cost=30,window=3"),
        ("forecast:drop_cost=5", {"drop_cost": None}, "forecast"),
        ("forecast", {"drop_cost": None}, "forecast"),
        ("run/1:3/a.onnx:transfer=true", {"d": "1"}, "run/1:3/a.onnx:transfer=true,d=1"),
        ("'a,b:c.onnx':d=2", {"d": "1"}, "'a,b:c.onnx':d=1"),
        ("learned:bundle='a,b.onnx'", {"d": "1"}, "learned:bundle='a,b.onnx',d=1"),
    ],
)
def test_parameters_of_a_spec_are_changed_and_the_rest_is_left(
    text: str, changes: dict[str, str | None], found: str
) -> None:
    assert with_pairs(text, changes) == found
    wanted = {key: value for key, value in changes.items() if value is not None}
    assert wanted.items() <= policy_spec(found).pairs.items()
