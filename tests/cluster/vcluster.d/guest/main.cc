// SPDX-License-Identifier: GPL-2.0
//
// The guest's program: /init of the initramfs and, with "serve", the service a systemd unit starts.
#include "parts.h"

#include <cstdio>
#include <cstring>
#include <unistd.h>

int main(int argc, char** argv) {
    using namespace krg::vcluster::guest;
    if (argc > 1 && std::strcmp(argv[1], "serve") == 0) {
        Settings settings;
        if (!settings.load(settings_path)) return 1;
        serve(settings);
    }
    if (getpid() != 1) {
        std::fprintf(stderr, "this program runs as process 1 of a vcluster guest\n");
        return 2;
    }
    boot();
    return 1;
}
