/*
 * The control thread's loop: it sleeps until a descriptor is ready and has the handler of that kind
 * of event run. Whoever is told of an event is unknown here.
 */
#ifndef FLEXNFV_EVENTS_H
#define FLEXNFV_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "manager/log.h"

enum fx_event {
    FX_EVENT_NF,       /* an NF process says that something about it has changed */
    FX_EVENT_STATUS,   /* a status period has passed */
    FX_EVENT_INTERVAL, /* a monitor interval has passed */
    FX_EVENT_SOCKET,   /* somebody wants to connect */
    FX_EVENT_CLIENT,   /* a request has come */
    FX_EVENT_PROCESS,  /* an NF process has ended */
    FX_EVENT_END,      /* a signal asks for the end, or standard input has ended */
    FX_EVENTS
};

/* `argument` is the one that the descriptor was given. */
typedef void (*fx_handler)(uint32_t argument);

/* One handler for each kind of event but FX_EVENT_END, which ends the loop; -1 with the reason. */
int fx_events_init(const fx_handler *handlers, struct fx_error *error);

/* When the descriptor is ready to be read, its handler runs; 0, or -1 with errno. */
int fx_watch(int fd, enum fx_event event, uint32_t argument);

/*
 * To be called before closing a descriptor of which a process that is being spawned may hold a copy
 * for a moment: the event would come again, for whoever has its argument by then.
 */
void fx_unwatch(int fd);

/* Every period_ns; 0, or -1 with errno. */
int fx_watch_time(uint64_t period_ns, enum fx_event event);

/* SIGINT, SIGTERM and SIGHUP, once fx_block_signals() has kept them from ending the process. */
int fx_watch_signals(void);
void fx_block_signals(void);

/* Waits for events, at most for timeout_ms (-1: for ever), and handles them. */
void fx_events_handle(int timeout_ms);

/* From then on fx_shutting_down() is true, and the loop ends. */
void fx_shut_down(void);
bool fx_shutting_down(void);

#endif
