/*
 * What the manager and its NF processes share in huge pages: names, rings, NF processes, instances.
 * Every cache line has one writer, said in its comment. Pointers are the same in all of them (DPDK
 * maps shared memory at one address).
 */
#ifndef FLEXNFV_SHARED_H
#define FLEXNFV_SHARED_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "shared/abi.h"

#define FX_MEMZONE        "fx_shared"
#define FX_MAGIC          0x464c584e4656ULL
#define FX_BURST          64 /* packets handled at once, everywhere */
#define FX_CACHE_LINE     64
#define FX_MESSAGES       64 /* size of a message ring */
#define FX_MAX_WORKERS    8
#define FX_MAX_CPUS       16 /* of one instance */
#define FX_FIRST_NF_LCORE 16 /* the process in slot k has lcore id 16 + k: no other has it */

/* File descriptors that every NF process inherits. */
#define FX_FD_MANAGER 3 /* pidfd of the manager */
#define FX_FD_EVENT   4 /* eventfd: something about this NF has changed */

/*
 * mbuf->hash.rss is the flow's hash, mbuf->hash.fdir.hi the packet's chain. RX writes both, once.
 * How far a packet has come in its chain is not written: it follows from the type of the instance
 * that hands the packet on, and a cache line that nobody writes need not travel between cores.
 */
#define FX_META_DROP        (1u << 31) /* the NF's verdict */
#define FX_META_CHAIN(meta) ((meta)&0xff)

enum fx_phase { /* of an NF process */
                FX_PHASE_EMPTY,
                FX_PHASE_STARTING,
                FX_PHASE_SPARE,   /* attached, parked, without an instance */
                FX_PHASE_POLLING, /* serves its instance */
                FX_PHASE_PARKED,  /* blocked and drained */
                FX_PHASE_FAILED,  /* init refused; the reason says why */
                FX_PHASE_LEAVING,
};

/* A message is one 64-bit word in the instance's own ring. */
enum fx_message { FX_MSG_BLOCK = 1, FX_MSG_RERUN, FX_MSG_STOP };

static inline void *fx_message_pack(enum fx_message kind, bool own_core, uint32_t generation)
{
    return (void *)((uintptr_t)generation << 16 | (uintptr_t)own_core << 8 | kind);
}

static inline enum fx_message fx_message_kind(const void *message)
{
    return (enum fx_message)((uintptr_t)message & 0xff);
}

static inline bool fx_message_own_core(const void *message)
{
    return (uintptr_t)message >> 8 & 1;
}

static inline uint32_t fx_message_generation(const void *message)
{
    return (uint32_t)((uintptr_t)message >> 16);
}

enum { FX_PROCESS_SPARE = -1, FX_PROCESS_LEAVE = -2 };

/* A slot for one NF process: launched for an instance, or a spare that is given one later. */
struct fx_process_slot {
    /* manager; `call` is a futex that changes when `instance` is set */
    alignas(FX_CACHE_LINE) _Atomic uint32_t call;
    _Atomic int32_t instance; /* or FX_PROCESS_SPARE, FX_PROCESS_LEAVE */
    uint32_t cpus;
    uint16_t cpu[FX_MAX_CPUS];
    /* NF; `obeyed` counts messages taken, `wanted` is what scalib_launch_nfs asks for */
    alignas(FX_CACHE_LINE) _Atomic uint32_t phase; /* enum fx_phase */
    _Atomic uint32_t obeyed;
    _Atomic uint32_t power; /* 1 if it manages its core's frequency */
    _Atomic uint32_t wanted;
    char reason[FX_REASON_LENGTH];
    /* manager; futex; instances granted of those wanted, -1: no answer yet */
    alignas(FX_CACHE_LINE) _Atomic int32_t granted;
};

/* One instance slot. */
struct fx_instance {
    /* manager, before the launch */
    alignas(FX_CACHE_LINE) struct rte_ring *receive;
    struct rte_ring *transmit;
    struct rte_ring *messages;
    uint32_t generation;
    uint16_t type;
    uint16_t slot;
    uint16_t worker;         /* which of the manager's workers empties `transmit` */
    _Atomic double pace_pps; /* 0: not paced */
    char args[FX_ARGS_LENGTH];
    /* both: futex; the NF sets it to 1 before it sleeps, whoever wakes it to 0 */
    alignas(FX_CACHE_LINE) _Atomic uint32_t sleeping;
    /* NF */
    alignas(FX_CACHE_LINE) _Atomic uint64_t served;
    _Atomic uint64_t busy_tsc;
    _Atomic uint64_t bad_messages;
    _Atomic uint64_t polling_ns;
    _Atomic uint64_t first_packet_ns;
    _Atomic uint64_t parked_ns;
    /*
     * NF: the burst in flight, which it has taken from the receive ring and not yet handed on, so
     * that the manager can free it after a death. `transmit_tail` is where the transmit ring's tail
     * will be once the burst is handed on: if the tail is there, the NF has no burst any more,
     * whatever `burst_count` says.
     */
    alignas(FX_CACHE_LINE) _Atomic uint32_t burst_count;
    _Atomic uint32_t transmit_tail;
    _Atomic uint32_t handing_on;
    struct rte_mbuf *burst[FX_BURST];
};

struct fx_shared_type {
    char name[FX_NAME_LENGTH];
    char function[FX_NAME_LENGTH];
    char args[FX_ARGS_LENGTH]; /* as configured; an instance has its own, see there */
};

/* The NF types whose functions a chain's packets pass. */
struct fx_shared_chain {
    uint32_t length;
    uint8_t type[FX_MAX_CHAIN_LENGTH];
};

struct fx_shared {
    uint64_t magic;
    uint32_t abi_version;
    uint32_t size; /* of this struct: catches a build whose layout differs */
    int32_t manager_pid;
    uint32_t busy_polling; /* NFs never sleep nor yield */
    uint32_t replicas;     /* run to completion: an instance runs all functions of a chain */
    uint32_t types, chains;
    uint64_t tsc_hz;
    struct fx_shared_type type[FX_MAX_TYPES];
    struct fx_shared_chain chain[FX_MAX_CHAINS];
    /* worker: futex; 1 while it sleeps */
    struct {
        alignas(FX_CACHE_LINE) _Atomic uint32_t sleeping;
    } worker[FX_MAX_WORKERS];
    struct fx_process_slot process[FX_MAX_PROCESSES];
    struct fx_instance instance[FX_MAX_INSTANCE_SLOTS];
};

/* Wakes whoever sleeps on the futex, after work was put where it will look. */
void fx_wake(_Atomic uint32_t *sleeping);

/* Wakes all who sleep on a futex whose value has just been changed. */
void fx_wake_all(_Atomic uint32_t *word);

/*
 * Sleeps on the futex, at most timeout_us (0: no limit), unless it is no longer `value`. Returns
 * after any wake-up: the caller looks again.
 */
void fx_sleep(_Atomic uint32_t *word, uint32_t value, uint32_t timeout_us);

/* CLOCK_MONOTONIC, ns. */
uint64_t fx_now_ns(void);

#endif
