"""Explain a learned policy on a trace: when it scales, and why.

The policy runs on the model beside a rule. What it expected at every decision is held against what
came; its decisions are computed anew with other inputs, to see which of them moved it.
"""

from flexnfv.evaluation.explain.explanation import Explanation, explain
from flexnfv.evaluation.explain.page import write

__all__ = ["Explanation", "explain", "write"]
