#define _GNU_SOURCE
#include "manager/commands.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "manager/decisions.h"
#include "manager/events.h"
#include "manager/instances.h"
#include "manager/maps.h"
#include "manager/options.h"
#include "manager/status.h"
#include "manager/worker.h"

static struct fx_manager *const mgr = &fx_manager;
static int listener = -1;
static char socket_path[128];

/* --- the commands ----------------------------------------------------------------------------- */

static int named_instance(const struct fx_request *request, uint32_t *index, struct fx_error *error)
{
    if (request->type < 0 || request->type >= (int)mgr->config.types)
        return fx_fail(error, "there is no type %d", request->type);
    if (fx_check_slot((uint32_t)request->type, request->slot, error) != 0)
        return -1;
    *index = fx_index_of((uint32_t)request->type, (uint32_t)request->slot);
    return 0;
}

static int take_decision(const struct fx_decision *decision, struct fx_reply *reply,
                         struct fx_error *error)
{
    if (fx_check_decision(decision, error) != 0)
        return -1;
    fx_heartbeat(reply->time_ns);
    fx_decide(decision, reply->clipped);
    for (uint32_t t = 0; t < mgr->config.types; t++)
        if (reply->clipped[t] > 0) {
            reply->status = FX_CLIPPED;
            snprintf(reply->reason, sizeof(reply->reason), "%s: %d wanted instances do not fit",
                     mgr->config.type[t].name, reply->clipped[t]);
        }
    return 0;
}

static int take_launch(const struct fx_request *request, struct fx_reply *reply,
                       struct fx_error *error)
{
    if (request->type < 0 || request->type >= (int)mgr->config.types)
        return fx_fail(error, "there is no type %d", request->type);
    if (fx_launch((uint32_t)request->type, request->slot, request->text, &reply->slot, error) != 0)
        return -1;
    reply->instance = mgr->first[request->type] + reply->slot;
    fx_adopt_target((uint32_t)request->type);
    return 0;
}

static int take_instance(const struct fx_request *request, struct fx_reply *reply,
                         struct fx_error *error)
{
    uint32_t index = 0;
    if (named_instance(request, &index, error) != 0)
        return -1;
    reply->slot = request->slot;
    reply->instance = (int32_t)index;
    if (request->kind == FX_CMD_KILL)
        return fx_kill(index, error);
    int result = request->kind == FX_CMD_BLOCK   ? fx_block(index, error)
                 : request->kind == FX_CMD_RERUN ? fx_rerun(index, error)
                                                 : fx_stop(index, error);
    if (result == 0)
        fx_adopt_target((uint32_t)request->type);
    return result;
}

static int take_pace(const struct fx_request *request, struct fx_error *error)
{
    if (request->type < -1 || request->type >= (int)mgr->config.types)
        return fx_fail(error, "there is no type %d", request->type);
    if (!isfinite(request->value) || request->value < 0 || request->value > 1e9)
        return fx_fail(error, "pace: %g packets/s is not 0 to 1e9", request->value);
    for (int t = 0; t < (int)mgr->config.types; t++)
        if (request->type < 0 || request->type == t)
            fx_set_pace((uint32_t)t, request->value);
    return 0;
}

static int take_rule(const struct fx_request *request, struct fx_error *error)
{
    static struct fx_rules rules[2];
    static int current;
    const struct fx_rules *now = atomic_load(&mgr->rules);
    struct fx_rules *next = &rules[current ^ 1];
    char text[FX_ARGS_LENGTH];
    if (!mgr->flows)
        return fx_fail(error, "this manager serves one chain without rules: nothing to choose");
    *next = *now;
    if (*request->text == '\0') {
        next->count = 0;
    } else {
        if (next->count == FX_MAX_RULES)
            return fx_fail(error, "there are %d rules already", FX_MAX_RULES);
        memcpy(text, request->text, sizeof(text));
        if (fx_rule_parse(&mgr->config, text, &next->rule[next->count], error) != 0)
            return -1;
        if (next->rule[next->count].port >= (int)mgr->config.ports)
            return fx_fail(error, "there is no port %d", next->rule[next->count].port);
        next->count++;
    }
    current ^= 1;
    atomic_store(&mgr->rules, next);
    fx_grace(); /* then no worker installs flows by the old rules any more */
    fx_flows_clear(mgr->flows);
    return 0;
}

/* A switch or a choice given as `value`. */
static int take_choice(const struct fx_request *request, uint32_t most, uint32_t *choice,
                       struct fx_error *error)
{
    for (*choice = 0; *choice <= most; (*choice)++)
        if (request->value == *choice)
            return 0;
    return fx_fail(error, "value: %g is not 0 to %u", request->value, most);
}

static int obey(const struct fx_request *request, struct fx_reply *reply, struct fx_error *error)
{
    uint32_t choice;
    switch (request->kind) {
    case FX_CMD_HEARTBEAT:
        fx_heartbeat(reply->time_ns);
        return 0;
    case FX_CMD_DECISION:
        return take_decision(&request->decision, reply, error);
    case FX_CMD_MAPPING:
        if (request->type < 0 || request->type >= (int)mgr->config.types)
            return fx_fail(error, "there is no type %d", request->type);
        if (take_choice(request, FX_EVEN, &choice, error) != 0)
            return -1;
        return fx_set_mapping((uint32_t)request->type, choice, error);
    case FX_CMD_LAUNCH:
        return take_launch(request, reply, error);
    case FX_CMD_BLOCK:
    case FX_CMD_RERUN:
    case FX_CMD_STOP:
    case FX_CMD_KILL:
        return take_instance(request, reply, error);
    case FX_CMD_PACE:
        return take_pace(request, error);
    case FX_CMD_ENTRY:
        if (take_choice(request, FX_ENTRY_HOLD, &choice, error) != 0)
            return -1;
        fx_set_entry(choice);
        return 0;
    case FX_CMD_LAW:
        if (take_choice(request, 1, &choice, error) != 0)
            return -1;
        fx_control.law = choice;
        return 0;
    case FX_CMD_SNAPSHOT:
        fx_status_publish(fx_now_ns());
        return 0;
    case FX_CMD_RULE:
        return take_rule(request, error);
    case FX_CMD_SHUTDOWN:
        fx_shut_down();
        return 0;
    default:
        return fx_fail(error, "there is no command %u", request->kind);
    }
}

static void answer(const struct fx_request *request, ssize_t length, struct fx_reply *reply)
{
    struct fx_error error = {0};
    *reply = (struct fx_reply){
        .abi_version = FX_ABI_VERSION, .time_ns = fx_now_ns(), .slot = -1, .instance = -1};
    int result;
    if (length != (ssize_t)sizeof(*request))
        result = fx_fail(&error, "a request has %zu bytes, not %zd", sizeof(*request), length);
    else if (request->abi_version != FX_ABI_VERSION)
        result = fx_fail(&error, "ABI version %u is not the manager's %d", request->abi_version,
                         FX_ABI_VERSION);
    else if (memchr(request->text, '\0', sizeof(request->text)) == NULL)
        result = fx_fail(&error, "text does not end within %d characters", FX_ARGS_LENGTH - 1);
    else
        result = obey(request, reply, &error);
    if (length == (ssize_t)sizeof(*request))
        reply->sequence = request->sequence;
    if (result != 0) {
        fx_control.refused++;
        reply->status = FX_REFUSED;
        memcpy(reply->reason, error.text, sizeof(reply->reason));
    }
}

/* --- the socket ------------------------------------------------------------------------------- */

int fx_commands_init(struct fx_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if ((size_t)snprintf(socket_path, sizeof(socket_path), "%s/control.sock", fx_options.dir) >=
        sizeof(address.sun_path))
        return fx_fail(error, "%.120s: the path of a socket has at most %zu characters",
                       fx_options.dir, sizeof(address.sun_path) - sizeof("/control.sock"));
    /* The socket gets its name only once it listens, so that whoever sees it can connect. */
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/.control", fx_options.dir);
    unlink(address.sun_path);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t mask = umask(0177); /* owner only, from the first moment */
    int bound = bind(listener, (struct sockaddr *)&address, sizeof(address));
    umask(mask);
    if (bound != 0) {
        close(listener);
        listener = -1;
    }
    if (bound != 0 || listen(listener, 16) != 0 || rename(address.sun_path, socket_path) != 0)
        return fx_fail(error, "%.120s: %s", socket_path, strerror(errno));
    return fx_watch(listener, FX_EVENT_SOCKET, 0);
}

void fx_commands_accept(uint32_t unused)
{
    (void)unused;
    int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (client < 0)
        return;
    if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
        (peer.uid != geteuid() && peer.uid != 0) ||
        fx_watch(client, FX_EVENT_CLIENT, (uint32_t)client) != 0)
        close(client);
}

void fx_commands_serve(uint32_t number)
{
    int client = (int)number;
    /* There is room for one byte more than a request has, which tells longer ones apart. */
    static struct {
        struct fx_request request;
        char more;
    } in;
    struct fx_reply reply;
    ssize_t length = recv(client, &in, sizeof(in.request) + 1, MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length <= 0) {
        close(client);
        return;
    }
    answer(&in.request, length, &reply);
    if (send(client, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        close(client); /* the client does not read its replies */
}

void fx_commands_end(void)
{
    if (listener >= 0) {
        close(listener);
        unlink(socket_path);
    }
}
