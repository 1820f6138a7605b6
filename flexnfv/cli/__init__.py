"""The `flexnfv` command.

Adding a subcommand takes two steps:

1. Write `flexnfv/cli/NAME.py` that exposes `COMMAND`. It is either one typed function, whose
   arguments tyro turns into options and whose docstring is the help text::

       def bench(policies: tuple[str, ...], *, out: Path, seeds: int = 1) -> int | None:
           \"\"\"Compare policies on traces.

           Args:
               policies: names of the policies, or bundle files.
               out: directory to create for the results.
               seeds: seeds per policy and trace.
           \"\"\"

       COMMAND = bench

   or a dict of such functions for a command with verbs (`flexnfv traces list`)::

       COMMAND = {"list": list_traces, "show": show}

   With a dict, `DEFAULT_VERB = "run"` names the verb that is meant when none is given.
   A positional argument is `tyro.conf.Positional[str]`. Return None or 0 for success.

2. Add one line to `COMMANDS` below.

Keep heavy imports (torch, ray, numba, matplotlib, pyarrow …) inside the functions: the module is
imported as soon as its command is named, also for `flexnfv NAME --help`. Raise
`flexnfv.errors.InputError` for whatever the user can mend; `main` prints it as one line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from flexnfv.failures import run_program
from flexnfv.suggest import known


class Command(NamedTuple):
    """One subcommand: its name, its line in `flexnfv --help`, and the module that exposes it."""

    name: str
    help: str
    module: str


COMMANDS: Final[tuple[Command, ...]] = (
    Command("bench", "compare policies on traces, with intervals and fronts", "flexnfv.cli.bench"),
    Command("calibrate", "measure NFs, write a calibration of the model", "flexnfv.cli.calibrate"),
    Command("chains", "list the shipped service chains, show any chain", "flexnfv.cli.chains"),
    Command("fidelity", "compare the model with a live chain", "flexnfv.cli.fidelity"),
    Command("deploy", "run a policy on a chain until stopped", "flexnfv.cli.deploy"),
    Command("dataplane", "build, start, watch, stop the DPDK dataplane", "flexnfv.cli.dataplane"),
    Command("doctor", "what this machine lacks for the dataplane", "flexnfv.cli.doctor"),
    Command("explain", "when a learned policy scales, and why: a page", "flexnfv.cli.explain"),
    Command("policies", "list policies, show one, look into a bundle", "flexnfv.cli.policies"),
    Command("ranking", "the order of policies, model against live", "flexnfv.cli.ranking"),
    Command("reproduce", "the paper's table and figures, claim by claim", "flexnfv.cli.reproduce"),
    Command("suite", "run, verify and rank policies on fixed traffic", "flexnfv.cli.suite"),
    Command("tune", "calibrate rules for drop costs or drop targets", "flexnfv.cli.tune"),
    Command("traces", "list, show and import traffic traces", "flexnfv.cli.traces"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: the arguments after the program's name; None takes those of the process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    return run_program("flexnfv", lambda: _dispatch(arguments))


def _dispatch(arguments: list[str]) -> int | None:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if arguments[0] == "--version":
        from flexnfv import __version__

        print(f"flexnfv {__version__}")
        return 0
    commands = {command.name: command for command in COMMANDS}
    command = commands[known(arguments[0], commands, kind="command")]

    from flexnfv.cli._call import call_module

    return call_module(command.module, prog=f"flexnfv {command.name}", arguments=arguments[1:])


def _overview() -> str:
    width = max((len(command.name) for command in COMMANDS), default=0)
    return "\n".join(
        [
            "usage: flexnfv COMMAND [OPTIONS]",
            "",
            "Scaling policies of NFV service chains: compare them, train them, deploy them.",
            "",
            "commands:",
            *(f"  {command.name:<{width}}  {command.help}" for command in COMMANDS),
            "",
            "options:",
            "  --version   print the version",
            "  -h, --help  print this; `flexnfv COMMAND --help` explains one command",
            "",
            "To train a policy: python train/exceedance.py --help, or train/ppo.py --help",
        ]
    )
