"""The dataplane's DPDK-free C (`hw_backend/dataplane/common/`) as a shared object for the tests."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import cffi
import numpy as np
import numpy.typing as npt

import flexnfv.hw_backend

COMMON = Path(flexnfv.hw_backend.__file__).resolve().parent / "dataplane" / "common"
SOURCES = ("law.c", "parse.c", "mapping.c", "scaling.c")

# As meson builds them: contraction to fused multiply-adds would round otherwise than Python.
FLAGS = ("-std=gnu17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-fPIC")

# cffi takes no directives, so what the headers declare is repeated here, for the tests alone.
DECLARATIONS = """
struct fx_flow {
    uint8_t src[16], dst[16];
    uint16_t sport, dport;
    uint8_t proto, ip_version, vlans, class;
    uint16_t ethertype, l3, l4, payload, end;
    uint32_t hash;
};
int fx_parse(const uint8_t *data, uint32_t len, struct fx_flow *flow);

struct fx_map {
    uint64_t reciprocal;
    uint32_t modulus, kind;
    int16_t slot[512];
};
void fx_map_init(struct fx_map *map, int kind);
uint32_t fx_map_update(struct fx_map *map, const int8_t *state, uint32_t slots);
double fx_map_moved(const struct fx_map *before, const struct fx_map *after);
void fx_load_if_blocked(int kind, const int8_t *state, const double *load, uint32_t slots,
                        double *prediction);
void map_all(const struct fx_map *map, const uint32_t *hashes, uint32_t count, int64_t *slots);

struct fx_limits {
    uint32_t types, slots;
    const int64_t *min_instances, *max_instances, *cores_per_instance;
    int64_t core_budget;
    double park_timeout_s;
};
int fx_victim(const int8_t *state, const double *load, const int8_t *command, uint32_t slots);
void fx_plan(const struct fx_limits *limits, const int64_t *targets, const int64_t *spares,
             const int8_t *state, const double *load, const double *parked_s,
             int8_t *command, int64_t *clipped);

struct fx_law_thresholds {
    const double *high, *low, *queue;
};
struct fx_law_reading {
    const int8_t *state;
    const double *load, *queue, *load_if_blocked;
    const uint8_t *unsettled;
    const int64_t *deaths;
};
struct fx_law_memory {
    uint8_t long_checks[16][64], short_checks[16][64];
    int64_t wanted[16];
};
void law_batch(uint32_t batch, uint32_t types, uint32_t slots,
               const struct fx_law_thresholds *thresholds, const struct fx_law_reading *readings,
               struct fx_law_memory *memories, int64_t *targets);
double load(double arrived_pps, double processing_ns);
uint32_t layout(int which);
"""

# What is inline in a header has no symbol of its own; and the structs above must be the headers'.
SHIM = """
#include "law.h"
#include "mapping.h"
#include "parse.h"
#include "scaling.h"
void map_all(const struct fx_map *map, const uint32_t *hashes, uint32_t count, int64_t *slots)
{
    for (uint32_t i = 0; i < count; i++)
        slots[i] = fx_map(map, hashes[i]);
}
/* One decision for each reading of a batch; its arrays are [batch][types][slots]. */
void law_batch(uint32_t batch, uint32_t types, uint32_t slots,
               const struct fx_law_thresholds *thresholds, const struct fx_law_reading *readings,
               struct fx_law_memory *memories, int64_t *targets)
{
    for (uint32_t b = 0; b < batch; b++) {
        uint32_t at = b * types * slots;
        struct fx_law_reading reading = {
            readings->state + at,           readings->load + at,
            readings->queue + at,           readings->load_if_blocked + at,
            readings->unsettled + b * types, readings->deaths + b * types};
        fx_law_decide(types, slots, thresholds, &reading, &memories[b], targets + b * types);
    }
}
double load(double arrived_pps, double processing_ns)
{
    return fx_load(arrived_pps, processing_ns);
}
uint32_t layout(int which)
{
    const uint32_t sizes[] = {sizeof(struct fx_flow), sizeof(struct fx_map),
                              sizeof(struct fx_limits), sizeof(struct fx_law_memory)};
    return sizes[which];
}
"""


class CommonC:
    """The compiled sources: `lib` has the functions, `ffi` the types."""

    def __init__(self, folder: Path) -> None:
        shim, library = folder / "shim.c", folder / "common.so"
        shim.write_text(SHIM)
        sources = [str(COMMON / name) for name in SOURCES]
        subprocess.run(
            [
                "cc",
                *FLAGS,
                "-shared",
                f"-I{COMMON.parent}",
                f"-I{COMMON}",
                str(shim),
                *sources,
                "-lm",
                "-o",
                library,
            ],
            check=True,
        )
        self.ffi: Any = cffi.FFI()
        self.ffi.cdef(DECLARATIONS)
        self.lib: Any = self.ffi.dlopen(str(library))
        for which, name in enumerate(("fx_flow", "fx_map", "fx_limits", "fx_law_memory")):
            assert self.ffi.sizeof(f"struct {name}") == self.lib.layout(which), name

    def array(self, kind: str, values: npt.NDArray[Any]) -> Any:
        """A pointer to a C-contiguous array's memory; the caller keeps the array."""
        assert values.flags.c_contiguous
        assert values.itemsize == self.ffi.sizeof(kind)
        return self.ffi.cast(f"{kind} *", values.ctypes.data)

    def map_all(self, table: Any, hashes: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
        """`fx_map` of every hash."""
        slots = np.empty(hashes.size, np.int64)
        self.lib.map_all(
            table, self.array("uint32_t", hashes), hashes.size, self.array("int64_t", slots)
        )
        return slots
