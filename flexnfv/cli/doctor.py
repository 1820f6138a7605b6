"""What this machine lacks for the dataplane, and the commands that mend it."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict

_MARKS = {"ok": "[green]ok[/green]", "advice": "[yellow]advice[/yellow]"}


def doctor(*, json: bool = False) -> int:
    """Say what this machine has and lacks for the dataplane.

    Ends with 1 if something is missing without which it does not run.

    Args:
        json: print JSON instead of a table.
    """
    from flexnfv.hw_backend.doctor import MISSING, examine

    findings = examine()
    if json:
        print(jsonlib.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        from rich.console import Console
        from rich.markup import escape

        console = Console(highlight=False, soft_wrap=True)
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            mark = _MARKS.get(finding.state, "[red]missing[/red]")
            pad = " " * (7 - len(finding.state))
            console.print(f"{mark}{pad}  {finding.name:<{width}}  {escape(finding.found)}")
            if finding.mend:
                console.print(f"{'':9}{'':{width}}  → {escape(finding.mend)}")
    return int(any(finding.state == MISSING for finding in findings))


COMMAND = doctor
