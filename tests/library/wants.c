/* SPDX-License-Identifier: GPL-2.0 */
/* See uses.h. WHAT has some of: callbacks, slow (they take a minute), exclude, disable. */
#define _DEFAULT_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <kerrighed.h>

#include "uses.h"

#define PAGE 4096

static volatile int calls[3];
static volatile int order_is_right = 1;

static void called(void *argument) {
    int moment = *(int *)argument;

    calls[moment]++;
}

static void last_before(void *argument) {
    (void)argument;
    /* Registered last, called first. */
    if (calls[KRG_CR_BEFORE] != calls[KRG_CR_CONTINUE] + calls[KRG_CR_RESTART]) order_is_right = 0;
}

static void slow(void *argument) {
    (void)argument;
    sleep(60);
}

static int write_text(const char *folder, const char *name, const char *text) {
    char path[4096], beside[4200];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    snprintf(beside, sizeof(beside), "%s.new", path);
    file = fopen(beside, "w");
    if (!file) return -1;
    fputs(text, file);
    return fclose(file) || rename(beside, path);
}

static int want(const char *what, unsigned char *memory) {
    static int moments[3] = {KRG_CR_BEFORE, KRG_CR_CONTINUE, KRG_CR_RESTART};
    int i;

    if (strstr(what, "callbacks")) {
        for (i = 0; i < 3; i++)
            if (krg_cr_register((enum krg_cr_moment)moments[i], called, &moments[i]) < 0) return -1;
        i = krg_cr_register(KRG_CR_BEFORE, slow, NULL);
        if (krg_cr_unregister(i) || krg_cr_register(KRG_CR_BEFORE, last_before, NULL) < 0) return -1;
    }
    if (strstr(what, "slow") && krg_cr_register(KRG_CR_BEFORE, slow, NULL) < 0) return -1;
    /* The second page and the third, and not those that are only touched. */
    if (strstr(what, "exclude") && krg_cr_exclude(memory + PAGE - 100, 2 * PAGE + 200)) return -1;
    if (strstr(what, "disable") && krg_cr_disable()) return -1;
    return 0;
}

int wants(const char *folder, const char *what) {
    unsigned char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char text[200];
    sigset_t term;
    int i, got;

    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigaddset(&term, SIGUSR1);
    sigprocmask(SIG_BLOCK, &term, NULL);
    if (memory == MAP_FAILED) return 1;
    for (i = 0; i < 4; i++) memset(memory + i * PAGE, i + 1, PAGE);
    if (want(what, memory)) {
        fprintf(stderr, "%s\n", krg_why());
        return 1;
    }
    snprintf(text, sizeof(text), "%ld\n", (long)getpid());
    if (write_text(folder, "pid", text)) return 1;
    /* SIGUSR1: it may be saved from now on. */
    while (sigwait(&term, &got) == 0 && got == SIGUSR1)
        if (krg_cr_enable()) return 1;
    snprintf(text, sizeof(text), "before %d continue %d restart %d pages %d %d %d %d order %d\n", calls[0], calls[1], calls[2],
             memory[PAGE - 1], memory[PAGE], memory[3 * PAGE - 1], memory[3 * PAGE], order_is_right);
    return write_text(folder, "out", text) ? 1 : 0;
}
