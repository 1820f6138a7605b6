"""Scaling policies: list them, show what one takes, look into a bundle."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from flexnfv.chain import load_chain
from flexnfv.policy import registered
from flexnfv.spec import PRETRAINED, located, pretrained
from flexnfv.suggest import known
from flexnfv.terminal import Listing, console

if TYPE_CHECKING:
    from flexnfv.policies.bundle import Metadata


def list_policies(*, json: bool = False) -> None:
    """List the registered policies, ours and those of installed packages, and pretrained bundles.

    Args:
        json: print JSON instead of a table.
    """
    rows = [
        {
            "name": name,
            "package": point.dist.name if point.dist else "",
            "summary": _summary(point.load()),
        }
        for name, point in registered().items()
    ] + [
        {"name": name, "package": "flexnfv", "summary": _summary_of(_card(bundle))}
        for name, bundle in pretrained().items()
    ]
    if json:
        _print_json(rows)
        return
    heading = ("name", "package", "what it does")
    console().print(Listing(heading, [list(row.values()) for row in rows], prose=heading[2:]))


def show(name: tyro.conf.Positional[str], *, json: bool = False) -> None:
    """Show what a policy does, its parameters with their defaults, and what is swept for its front.

    Args:
        name: of a registered policy, or of a pretrained bundle, whose model card is shown.
        json: print JSON instead of a table.
    """
    if name.startswith(PRETRAINED):
        card = _card(Path(located(name)))
        if json:
            _print_json({"name": name, "card": card})
        else:
            print(card, end="")
        return
    factory = registered()[known(name, registered(), kind="policy")].load()
    described = _argument_docs(inspect.getdoc(factory) or "")
    parameters = [
        {
            "name": parameter.name,
            "default": "required" if parameter.default is parameter.empty else parameter.default,
            "meaning": described.get(parameter.name, ""),
        }
        for parameter in inspect.signature(factory).parameters.values()
    ]
    sweep = getattr(factory, "sweep", ())
    axes = (sweep,) if sweep and isinstance(sweep[0], str) else sweep
    if json:
        _print_json(
            {
                "name": name,
                "summary": _summary(factory),
                "parameters": parameters,
                "front": {axis: list(values) for axis, values in axes},
            }
        )
        return
    out = console()
    out.print(f"[bold]{name}[/bold]: {_summary(factory)}")
    if not parameters:
        out.print("  takes no parameters")
        return
    heading = ("parameter", "default", "meaning")
    cells = [[str(value) for value in row.values()] for row in parameters]
    out.print(Listing(heading, cells, prose=("meaning",)))
    for axis, values in axes:
        out.print(f"swept for its front: {axis} = {', '.join(f'{v:g}' for v in values)}")
    for example in parameters:
        if example["default"] not in (None, "required"):
            out.print(f"as a spec: {name}:{example['name']}={example['default']}")
            break


def inspect_bundle(
    bundle: tyro.conf.Positional[str], *, chain: str | None = None, json: bool = False
) -> None:
    """Check a bundle and show what it says of itself; nothing of it is executed but its network.

    Args:
        bundle: path of a bundle (one ONNX file), or the name of a pretrained one.
        chain: also tell whether it fits this chain (shipped name or path); exit code 2 if not.
        json: print JSON instead of a table.
    """
    from flexnfv.policies.bundle import read_bundle, refuse_other_chain

    metadata, _ = read_bundle(located(bundle))
    if chain is not None:
        refuse_other_chain(metadata, load_chain(chain), bundle)
    told = metadata.model_dump(mode="json")
    if json:
        _print_json(told)
        return
    out = console()
    out.print(f"[bold]{metadata.name}[/bold]: format {metadata.format}, {bundle}")
    rows: dict[str, str] = {
        "answers": _answers(metadata),
        "drop_cost": f"{metadata.drop_cost:g}"
        + (" (trained {:g} to {:g})".format(*metadata.drop_costs) if metadata.drop_costs else ""),
    }
    for shape in metadata.chains:
        order = " and ".join(" → ".join(path) for path in shape.functions)
        rows[f"chain {shape.name}"] = (
            f"{order}, every {shape.interval_s:g} s, {'/'.join(dict.fromkeys(shape.mappings))}, "
            f"calibration {shape.calibration}, digest {shape.digest[:12]}"
        )
    rows |= {f"{split} traces": ", ".join(names) for split, names in metadata.traces.items()}
    rows["seeds"] = ", ".join(map(str, metadata.seeds)) or "-"
    rows["git revision"] = metadata.git_revision or "-"
    rows |= {f"score {name}": f"{value:g}" for name, value in metadata.scores.items()}
    rows |= {f"training {key}": _short(value) for key, value in metadata.training.items()}
    out.print(Listing(("", " "), rows.items(), prose=(" ",)))
    if chain is not None:
        out.print(f"it fits chain {chain}")


def _answers(metadata: Metadata) -> str:
    """What the network answers to what."""
    count = len(metadata.observation)
    if metadata.kind == "exceedance":
        return (
            f"{count} features of traffic and level -> how likely the demand is to exceed the "
            f"level next, and within {', '.join(f'{span:g}' for span in metadata.horizons)} "
            "intervals"
        )
    offsets = metadata.offsets
    return (
        f"{count} features -> {len(offsets)} offsets from the need, "
        f"{offsets[0]:+d} .. {offsets[-1]:+d}"
    )


def _card(bundle: Path) -> str:
    """The model card beside a pretrained bundle."""
    return bundle.with_suffix(".md").read_text(encoding="utf-8")


def _summary_of(card: str) -> str:
    """The paragraph behind the card's title."""
    return " ".join(card.split("\n\n")[1].split())


def _summary(factory: object) -> str:
    return (inspect.getdoc(factory) or "").strip().split("\n", maxsplit=1)[0]


def _argument_docs(doc: str) -> dict[str, str]:
    """What a docstring's `Args:` section says of each argument, as one line each."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", doc, re.MULTILINE | re.DOTALL)
    if section is None:
        return {}
    entries = re.findall(
        r"^    (\w+): (.*?)(?=^    \w+: |\Z)", section[1], re.MULTILINE | re.DOTALL
    )
    return {name: " ".join(text.split()) for name, text in entries}


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 200 else text[:197] + "..."


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


COMMAND = {"list": list_policies, "show": show, "inspect": inspect_bundle}
