"""What bit equality between machines rests on: machine code without fused or library arithmetic.

Run: python -m tests.benchmarks.machine_code
Compiles all that a short evaluation of two rules needs, and looks through the machine code for
fused multiply-adds and for calls of mathematical functions. A function that must show one of each
is looked through first: the search finds what it looks for.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from typing import Any

FUSED = re.compile(r"\bv?f(?:n?m(?:add|sub)|ml[as])\w*")
"""Of x86-64 and of 64-bit ARM."""
LIBRARY = re.compile(
    r"\b(?:exp|exp2|expm1|log|log2|log10|log1p|pow|sin|cos|tan|tanh|hypot|fmod)f?\b"
)


def found_in(assembly: str) -> tuple[int, set[str]]:
    """Fused instructions, and mathematical functions that are named."""
    return len(FUSED.findall(assembly)), set(LIBRARY.findall(assembly))


def main() -> int:
    """Print what was found; 1 if there is anything."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NUMBA_CACHE_DIR"] = cache  # what comes from a cache has no text to look through
        import numba

        made: list[Any] = []
        original: Callable[..., Any] = numba.njit

        def njit(*arguments: Any, **options: Any) -> Any:
            if arguments:
                return original(*arguments, **options)

            def compile_and_keep(function: Any) -> Any:
                made.append(original(**options)(function))
                return made[-1]

            return compile_and_keep

        @original(fastmath=True)
        def control(values: Any) -> float:
            total = 0.0
            for value in values:
                total += value * value * 1.5 + abs(value) ** 0.3
            return total

        import numpy as np

        control(np.ones(9))
        print("control:", *found_in("".join(control.inspect_asm().values())))
        numba.njit = njit
        from flexnfv.evaluation import benchmark

        traffic = ["synthetic/flash_crowd?end=40&peak=2e7"]
        rules = ["target_tracking", "watermark"]
        benchmark(rules, "edge", traffic, 1, sweep=False, progress=False)
    fused, library = 0, set()
    for function in made:
        for assembly in function.inspect_asm().values():
            count, names = found_in(assembly)
            fused += count
            library |= names
    print(
        f"{len(made)} functions: {fused} fused instructions, library: {sorted(library) or 'none'}"
    )
    return int(bool(fused or library))


if __name__ == "__main__":
    sys.exit(main())
