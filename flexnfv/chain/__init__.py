"""Service chains: what an operator intends, and the calibration that it rests on."""

from flexnfv.chain.loading import load_calibration, load_chain, shipped
from flexnfv.chain.schema import (
    MAX_INSTANCES,
    MAX_TYPES,
    Calibration,
    FlowSetSpec,
    Mapping,
    Mode,
    Name,
    NFCalibration,
    NFType,
    PathSpec,
    PowerCalibration,
)
from flexnfv.chain.service_chain import ServiceChain

__all__ = [
    "MAX_INSTANCES",
    "MAX_TYPES",
    "Calibration",
    "FlowSetSpec",
    "Mapping",
    "Mode",
    "NFCalibration",
    "NFType",
    "Name",
    "PathSpec",
    "PowerCalibration",
    "ServiceChain",
    "load_calibration",
    "load_chain",
    "shipped",
]
