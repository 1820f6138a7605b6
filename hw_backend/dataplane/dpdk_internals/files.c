#include "dpdk_internals/files.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_eal.h>

#include "common/alive.h"

enum { PATIENCE_MS = 3000, LOOK_MS = 20 };

/* DPDK tells where its runtime folder is only once it has started: these are its rules. */
static const char *runtime_folder(void)
{
    const char *folder = getenv("RUNTIME_DIRECTORY"), *own = getenv("XDG_RUNTIME_DIR");
    if (folder)
        return folder;
    if (getuid() == 0)
        return "/var/run";
    return own ? own : "/tmp";
}

/* Whether a process that has a socket there is alive; the sockets of the dead are removed. */
static bool any_alive(const char *folder)
{
    char path[800];
    bool alive = false;
    DIR *dir = opendir(folder);
    if (!dir)
        return false;
    for (struct dirent *file; (file = readdir(dir));) {
        int pid = 0;
        if (sscanf(file->d_name, "mp_socket_%d_", &pid) != 1)
            continue;
        if (fx_alive(pid)) {
            alive = true;
        } else {
            snprintf(path, sizeof(path), "%s/%s", folder, file->d_name);
            unlink(path);
        }
    }
    closedir(dir);
    return alive;
}

void fx_files_wait_for_orphans(const char *prefix)
{
    char folder[512];
    snprintf(folder, sizeof(folder), "%s/dpdk/%s", runtime_folder(), prefix);
    for (int waited = 0; any_alive(folder) && waited < PATIENCE_MS; waited += LOOK_MS)
        usleep(LOOK_MS * 1000);
}

void fx_files_remove_process(int pid)
{
    char folder[256], mark[32], path[600];
    snprintf(folder, sizeof(folder), "%s", rte_eal_get_runtime_dir());
    snprintf(mark, sizeof(mark), "_%d", pid);
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    for (struct dirent *file; (file = readdir(dir));) {
        char *found = strstr(file->d_name, mark);
        size_t length = strlen(mark);
        if (found && (found[length] == '\0' || found[length] == '_')) {
            snprintf(path, sizeof(path), "%s/%s", folder, file->d_name);
            unlink(path);
        }
    }
    closedir(dir);
}

static void remove_files(const char *folder, const char *prefix)
{
    char path[1024];
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    for (struct dirent *file; (file = readdir(dir));)
        if (file->d_type != DT_DIR && strncmp(file->d_name, prefix, strlen(prefix)) == 0) {
            snprintf(path, sizeof(path), "%s/%s", folder, file->d_name);
            unlink(path);
        }
    closedir(dir);
}

static void remove_huge_pages(const char *prefix)
{
    char line[1024], mount[512], kind[64], name[128];
    FILE *mounts = fopen("/proc/mounts", "r");
    snprintf(name, sizeof(name), "%smap_", prefix);
    while (mounts && fgets(line, sizeof(line), mounts))
        if (sscanf(line, "%*s %511s %63s", mount, kind) == 2 && strcmp(kind, "hugetlbfs") == 0)
            remove_files(mount, name);
    if (mounts)
        fclose(mounts);
}

void fx_files_remove_all(const char *prefix)
{
    remove_huge_pages(prefix);
    remove_files(rte_eal_get_runtime_dir(), "");
    rmdir(rte_eal_get_runtime_dir());
}
