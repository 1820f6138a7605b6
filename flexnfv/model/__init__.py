"""The calibrated model of a service chain: a batched fluid queue, and the backend made of it."""

from flexnfv.model.backend import ModelBackend
from flexnfv.model.batch import BatchModel

__all__ = ["BatchModel", "ModelBackend"]
