/* SPDX-License-Identifier: GPL-2.0 */
/* krg-library: each function of libkerrighed as a command. Prints its result; exits with 0, or 1 and errno's name and why. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kerrighed.h>

#include <kerrighed/legacy.h>
#include "uses.h"

static int result(long value) {
    if (value >= 0) {
        printf("%ld\n", value);
        return 0;
    }
    fprintf(stderr, "error %d: %s: %s\n", errno, strerror(errno), krg_why());
    return 1;
}

static unsigned flags_of(const char *words) {
    unsigned flags = 0;

    if (words && strstr(words, "tree")) flags |= KRG_TREE;
    if (words && strstr(words, "kill")) flags |= KRG_KILL;
    if (words && strstr(words, "post")) flags |= KRG_POST_COPY;
    if (words && strstr(words, "quiet")) flags |= KRG_NO_CALLBACKS;
    if (words && strstr(words, "changed")) flags |= KRG_ACCEPT_CHANGED;
    return flags;
}

static int nodes(void) {
    int ids[128], count = krg_node_list(ids, 128), i;

    if (count < 0) return result(-1);
    printf("node %d of %d:", krg_node_id(), krg_node_count());
    for (i = 0; i < count; i++) printf(" %d", ids[i]);
    printf(", %d, %d\n", krg_node_is_member(ids[0]), krg_node_is_member(126));
    return get_node_id() == krg_node_id() && get_nr_nodes() == count ? 0 : 1;
}

static int say(const char *path, long value) {
    FILE *file = fopen(path, "a");

    if (!file) return 1;
    fprintf(file, "%ld\n", value);
    return fclose(file) != 0;
}

/* There, and on: what it returns and where it is then, a line each; its process is that of before. */
static int migrate_self_to(char **nodes_of, int count, const char *path) {
    pid_t pid = getpid();
    int i;

    for (i = 0; i < count; i++) {
        if (krg_migrate_self(atoi(nodes_of[i]), 0) < 0) return result(-1);
        if (getpid() != pid || say(path, krg_node_id())) return 1;
    }
    return 0;
}

static int checkpoint_self(const char *image, const char *path) {
    int made = krg_checkpoint_self(image, 0);

    if (made < 0) return result(-1);
    return say(path, made);
}

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "", *a = argc > 2 ? argv[2] : "", *b = argc > 3 ? argv[3] : "";
    const char *c = argc > 4 ? argv[4] : NULL;

    if (!strcmp(verb, "nodes")) return nodes();
    if (!strcmp(verb, "wants")) return wants(a, b);
    if (!strcmp(verb, "migrate")) return result(krg_migrate(atoi(a), atoi(b), flags_of(c)));
    if (!strcmp(verb, "migrate-check")) return result(krg_migrate_check(atoi(a), flags_of(b)));
    if (!strcmp(verb, "migrate-self") && argc > 3) return migrate_self_to(argv + 3, argc - 3, a);
    if (!strcmp(verb, "checkpoint")) {
        struct krg_image_info info;

        memset(&info, 0, sizeof(info));
        if (krg_checkpoint(atoi(a), b, flags_of(c), &info) < 0) return result(-1);
        return info.number && info.bytes && info.tasks && info.threads ? 0 : 1;
    }
    if (!strcmp(verb, "checkpoint-check")) return result(krg_checkpoint_check(atoi(a), flags_of(b)));
    if (!strcmp(verb, "checkpoint-self")) return checkpoint_self(a, b);
    if (!strcmp(verb, "restart")) return result(krg_restart(a, flags_of(b)));
    if (!strcmp(verb, "freeze")) return result(krg_freeze(atoi(a)));
    if (!strcmp(verb, "unfreeze")) return result(krg_unfreeze(atoi(a), atoi(b)));
    fprintf(stderr, "usage: krg-library VERB ARGUMENTS\n");
    return 2;
}
