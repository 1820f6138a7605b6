"""How `flexnfv` finds its commands, and how it ends."""

from __future__ import annotations

import errno
import sys
from types import ModuleType

import pytest

import flexnfv.cli
from flexnfv.cli import Command, main
from flexnfv.errors import BackendError, InputError


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch):
    """Register a command named "tried" that exposes `command`."""

    def register(command: object, default_verb: str | None = None) -> None:
        module = ModuleType("tried_command", "Tried.")
        module.COMMAND = command  # type: ignore[attr-defined]
        if default_verb is not None:
            module.DEFAULT_VERB = default_verb  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "tried_command", module)
        monkeypatch.setattr(flexnfv.cli, "COMMANDS", (Command("tried", "try it", "tried_command"),))

    return register


def failing(error: BaseException):
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            InputError("rate is negative", where="a.csv:3", fix="remove the row"),
            2,
            "flexnfv: a.csv:3: rate is negative; remove the row",
        ),
        (BackendError("the manager\ndied"), 1, "flexnfv: the manager died"),
        (KeyboardInterrupt(), 130, "flexnfv: interrupted"),
        (
            OSError(errno.ENOSPC, "No space left on device", "out.csv"),
            2,
            "flexnfv: no disk space left while writing out.csv; "
            "free some and run the command again",
        ),
    ],
)
def test_an_expected_failure_is_one_line_and_its_exit_code(plug, capsys, error, code, line) -> None:
    plug(failing(error))
    assert main(["tried"]) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", line + "\n")


def test_a_bug_of_ours_keeps_its_traceback(plug) -> None:
    plug(failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["tried"])


def test_an_unknown_command_names_the_nearest(capsys) -> None:
    assert main(["chians"]) == 2
    assert capsys.readouterr().err == (
        "flexnfv: unknown command 'chians'; did you mean 'chains'?\n"
    )


def test_an_unknown_verb_names_the_nearest(capsys) -> None:
    assert main(["chains", "lits"]) == 2
    assert capsys.readouterr().err == (
        "flexnfv: unknown verb of `flexnfv chains` 'lits'; did you mean 'list'?\n"
    )


def test_a_function_gets_its_typed_arguments_and_gives_the_exit_code(plug) -> None:
    seen = []

    def command(out: str, *, seeds: int = 1) -> int:
        seen.append((out, seeds))
        return 7

    plug(command)
    assert main(["tried", "--out", "x", "--seeds", "3"]) == 7
    assert seen == [("x", 3)]


def test_arguments_that_do_not_parse_end_with_2(plug, capsys) -> None:
    def command(*, seeds: int = 1) -> None:
        raise AssertionError("must not run")

    plug(command)
    assert main(["tried", "--seeds", "many"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "Error parsing --seeds" in line
    assert "see flexnfv tried --help" in line


def test_verbs_and_the_default_verb(plug) -> None:
    seen = []

    def run(*, policy: str = "watermark") -> None:
        seen.append(("run", policy))

    def status() -> None:
        seen.append(("status",))

    plug({"run": run, "status": status}, default_verb="run")
    assert main(["tried", "--policy", "static"]) == 0
    assert main(["tried"]) == 0
    assert main(["tried", "status"]) == 0
    assert seen == [("run", "static"), ("run", "watermark"), ("status",)]


def test_help_lists_every_command(capsys) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in flexnfv.cli.COMMANDS:
        assert f"  {command.name}" in out
        assert command.help in out
