// SPDX-License-Identifier: GPL-2.0
//
// test_hadsm_fs: the hadsm file system on three nodes as programs use it. The scenarios are in hadsm_fs_*.cc.
#include "hadsm_fs.hh"

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_hadsm_fs";
    defaults.what = "The hadsm file system on three nodes: names, locks, crashes, unmodified programs, histories of memory";
    defaults.nodes = 3;
    DriverOptions options = read_options(argc, argv, std::move(defaults));
    const std::vector<Scenario> scenarios{
        {"names", "names, links, permissions, attributes are the same on all nodes", scenario_names},
        {"exerciser", "the file system exerciser against its model, on each node", scenario_exerciser},
        {"exerciser-shared", "three exercisers share files, names and locks", scenario_exerciser_shared},
        {"locks", "fcntl and flock conflict across nodes; they end with their process and with their node", scenario_locks},
        {"ahead", "who reads in order has most of it before it asks, also while another node writes", scenario_ahead},
        {"sort", "GNU sort of a file another node wrote", scenario_sort},
        {"sqlite", "sqlite3 in WAL mode on two nodes at once", scenario_sqlite},
        {"git", "git clone, fsck and commit on different nodes", scenario_git},
        {"tree", "cp -a, diff -r, tar of a tree", scenario_tree},
        {"posix-sync", "process-shared mutexes (also robust), conditions, semaphores, barriers between nodes",
         scenario_posix_sync},
        {"shm", "the same with shm_open, mounted on /dev/shm", scenario_shm},
        {"linearize", "loads and stores of three nodes: one memory can have answered so", scenario_linearize},
        {"linearize-crash", "the same while a node dies, with two copies", scenario_linearize_crash},
        {"evict", "more than one node may keep, more than all may keep, memory pressure", scenario_evict},
        {"devices", "pages in use for I/O while other nodes want them", scenario_devices},
        {"lost", "what only a dead node had answers EIO and SIGBUS, the rest goes on", scenario_copies_lost},
        {"paused", "a node that wakes too late does nothing more", scenario_paused},
        {"crash", "two copies: names and contents outlive a node", scenario_crash},
        {"far", "nodes far from each other make files in one directory", scenario_far},
        {"leave", "each node in turn leaves under load and comes back", scenario_leave},
        {"take-down", "unmount, leave, unload", scenario_take_down},
    };
    return run_driver(options, scenarios, cluster_for(options, "hadsm-fs"));
}
