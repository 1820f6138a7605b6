"""Evaluation: a grid of policies, traces and seeds, and what it shows.

`from flexnfv.evaluation import benchmark` is the whole of it for most uses.
"""

from flexnfv.evaluation.bench import benchmark
from flexnfv.evaluation.result import Result

__all__ = ["Result", "benchmark"]
