// SPDX-License-Identifier: GPL-2.0
//
// test_real: programs that nobody wrote for it, saved, killed and restarted, or moved, in the middle of their work. What comes
// out is what comes out of an undisturbed run.
#include "real.hh"

#include "migrate_steps.hh"

#include <sstream>

namespace krg::cluster_test {

namespace {

template<const Work& work>
void checkpoint(Test& test) {
    through(test, work, "checkpoint");
}

template<const Work& work>
void migrate(Test& test) {
    through(test, work, "migrate");
}

/// Who asks for checkpoints only (`--only '*-checkpoint'`) needs one machine, not two.
int nodes_for(const std::string& only) {
    std::istringstream globs(only);
    for (std::string glob; std::getline(globs, glob, ',');)
        if (glob != "unload" && !glob.ends_with("-checkpoint")) return 2;
    return 1;
}

void unload(Test& test) { unload_everywhere(test, {"krg_proc", "hadsm", "kerrighed"}); }

}  // namespace

}  // namespace krg::cluster_test

int main(int argc, char** argv) {
    using namespace krg::cluster_test;
    DriverOptions defaults;
    defaults.program = "tests/cluster/test_real";
    defaults.what = "Real programs, saved or moved in the middle of their work";
    defaults.nodes = 2;
    DriverOptions options = read_options(argc, argv, std::move(defaults));
    options.nodes = nodes_for(options.only);
    const std::vector<Scenario> scenarios{
        {"python3-checkpoint", "digits of pi, saved and restarted", checkpoint<python3_work>},
        {"python3-migrate", "digits of pi, moved", migrate<python3_work>},
        {"openmp-checkpoint", "heat in a plate with OpenMP, saved and restarted", checkpoint<openmp_work>},
        {"openmp-migrate", "heat in a plate with OpenMP, moved", migrate<openmp_work>},
        {"pthreads-checkpoint", "the same with threads and barriers, saved and restarted", checkpoint<pthreads_work>},
        {"pthreads-migrate", "the same with threads and barriers, moved", migrate<pthreads_work>},
        {"sqlite3-checkpoint", "a transaction, with its locks, saved and restarted", checkpoint<sqlite3_work>},
        {"sqlite3-migrate", "a transaction, with a lock file, moved", migrate<sqlite3_dotfile_work>},
        {"gcc-checkpoint", "a compilation, saved and restarted", checkpoint<gcc_work>},
        {"gcc-migrate", "a compilation, moved", migrate<gcc_work>},
        {"bash-checkpoint", "a script with pipes, saved and restarted", checkpoint<bash_work>},
        {"bash-migrate", "a script with pipes, moved", migrate<bash_work>},
        {"redis-checkpoint", "a server of keys and values, saved and restarted", checkpoint<redis_work>},
        {"redis-migrate", "a server of keys and values, moved", migrate<redis_work>},
        {"node-checkpoint", "a web server with a thread that computes, saved and restarted", checkpoint<node_work>},
        {"node-migrate", "a web server with a thread that computes, moved", migrate<node_work>},
        {"tmux-checkpoint", "shells in terminals, saved and restarted", checkpoint<tmux_work>},
        {"tmux-migrate", "shells in terminals, moved", migrate<tmux_work>},
        {"unload", "the modules go", unload},
    };
    return run_driver(options, scenarios, cluster_for(options, "real"));
}
