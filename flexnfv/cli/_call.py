"""Calls the function that a subcommand's module exposes with the arguments of the command line."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from flexnfv.failures import one_line_errors
from flexnfv.suggest import known


def call_module(module: str, *, prog: str, arguments: Sequence[str]) -> int | None:
    """Parse `arguments` for the `COMMAND` of `module` and call it.

    Args:
        module: dotted name of a module that follows the contract in `flexnfv.cli`.
        prog: the command as the user types it, for help and error texts.
        arguments: what follows it on the command line.

    Returns:
        What the function returned: an exit code, or None for success.

    Raises:
        InputError: the command has verbs and the first argument is none of them, or the arguments
            cannot be parsed.
        SystemExit: tyro printed the help (0).
    """
    exposed = importlib.import_module(module)
    command = exposed.COMMAND
    if callable(command):
        with one_line_errors(prog):
            call = tyro.cli(_bound(command), prog=prog, args=arguments)
    else:
        given = _with_verb(
            list(arguments),
            verbs=command,
            default=getattr(exposed, "DEFAULT_VERB", None),
            prog=prog,
        )
        with one_line_errors(prog):
            call = tyro.extras.subcommand_cli_from_dict(
                {verb: _bound(function) for verb, function in command.items()},
                prog=prog,
                description=exposed.__doc__,
                args=given,
            )
    outcome = call()
    return None if outcome is None else int(outcome)


def _bound(function: Callable[..., int | None]) -> Callable[..., Callable[[], int | None]]:
    """The function with its signature, which instead of running hands back what is to be run.

    Parsing and running stay apart: what the command itself writes or raises is not touched.
    """

    @functools.wraps(function)
    def bind(*args: Any, **kwargs: Any) -> Callable[[], int | None]:
        return functools.partial(function, *args, **kwargs)

    return bind


def _with_verb(
    arguments: list[str],
    *,
    verbs: dict[str, Callable[..., int | None]],
    default: str | None,
    prog: str,
) -> list[str]:
    """Return the arguments with their verb first: the one given, else the default one."""
    if not arguments:
        return ["--help"] if default is None else [default]
    if arguments[0] in verbs or arguments[0] in ("-h", "--help"):
        return arguments
    if default is not None:
        return [default, *arguments]
    return [known(arguments[0], verbs, kind=f"verb of `{prog}`"), *arguments[1:]]
