"""Chains and calibrations from TOML files: shipped by name, or by path."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flexnfv.chain.schema import Calibration, input_error
from flexnfv.chain.service_chain import ServiceChain
from flexnfv.errors import InputError
from flexnfv.suggest import nearest


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such file", where=str(path)) from None
    except IsADirectoryError:
        raise InputError("is a folder, not a TOML file", where=str(path)) from None
    except PermissionError:
        raise InputError("cannot be read (permission denied)", where=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not valid TOML: {error}", where=str(path)) from None


def shipped(folder: str) -> dict[str, Path]:
    """Names and paths of the TOML files that FlexNFV ships in `folder` (chains, calibration)."""
    root = Path(str(resources.files("flexnfv") / folder))
    return {path.stem: path for path in sorted(root.glob("*.toml"))}


def _locate(name: str | Path, folder: str, beside: Path | None = None) -> Path:
    """A path as given, beside the file that named it, or a shipped file by its name."""
    text = str(name)
    known = shipped(folder)
    if text.removesuffix(".toml") in known and not Path(text).exists():
        return known[text.removesuffix(".toml")]
    if text.endswith(".toml") or "/" in text:
        path = Path(text)
        if beside is not None and not path.is_absolute() and (beside / path).exists():
            return beside / path
        return path
    if beside is not None and (beside / f"{text}.toml").exists():
        return beside / f"{text}.toml"
    raise InputError(
        f"no {folder} file of that name",
        where=repr(text),
        fix=f"{nearest(text, known)}give a path ending in .toml or one of {', '.join(known)}",
    )


def load_calibration(name: str | Path, *, beside: Path | None = None) -> Calibration:
    """A calibration by shipped name or path.

    Raises:
        InputError: no such file, not TOML, or a key that is missing, unknown or out of range.
    """
    path = _locate(name, "calibration", beside)
    try:
        return Calibration.model_validate(_read_toml(path))
    except ValidationError as error:
        raise input_error(error, str(path)) from error


def load_chain(
    name: str | Path | ServiceChain, *, calibration: str | Path | None = None
) -> ServiceChain:
    """A chain by shipped name or path, bound to the calibration it names (or to another one).

    Raises:
        InputError: no such file, not TOML, a key that is missing, unknown or out of range, or a
            calibration that does not hold one of the chain's NF functions.
    """
    if isinstance(name, ServiceChain):
        return name if calibration is None else name.with_calibration(load_calibration(calibration))
    path = _locate(name, "chains")
    try:
        chain = ServiceChain.model_validate(_read_toml(path))
    except ValidationError as error:
        raise input_error(error, str(path)) from error
    chain._folder = path.parent.resolve()
    measured = load_calibration(
        calibration if calibration is not None else chain.calibration,
        beside=None if calibration is not None else path.parent,
    )
    try:
        return chain.with_calibration(measured)
    except InputError as error:
        raise InputError(error.what, where=f"{path}, {error.where}", fix=error.fix) from None
