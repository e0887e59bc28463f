// SPDX-License-Identifier: GPL-2.0
//
// krg-memory-bench: what shared memory costs, measured inside the guests of a virtual cluster. One conductor on node 1 asks and
// measures; on every other node `krg-memory-bench serve` does what it is told. krg-bench starts both and compares with goals.
#include "series.hh"

#include <CLI/CLI.hpp>
#include <algorithm>

namespace krg::bench {

Player& Scene::node(unsigned number) {
    if (number == 1) return here;
    const auto found = others.find(number);
    if (found == others.end()) guest::fail("no node " + std::to_string(number) + " takes part", guest::usage);
    return *found->second;
}

unsigned Scene::open(const std::string& path, std::uint64_t pages) {
    const Order order{Verb::open, 0, 0, pages, 0, 0, path};
    here.carry_out(order);
    for (auto& [number, player] : others) player->carry_out(order);
    return files_++;
}

}  // namespace krg::bench

namespace {

using namespace krg::bench;

constexpr std::uint64_t file_pages = std::uint64_t{1} << 19;

void conduct(Scene& scene, const std::vector<std::string>& addresses, unsigned port, const std::string& output) {
    unsigned number = 2;
    for (const std::string& address : addresses) {
        scene.others.emplace(number, std::make_unique<There>(number, address, port));
        number++;
    }
    scene.report = std::make_unique<Report>(output);
    measure_recovery(scene);
    if (scene.wanted("hadsm-recovery")) return;
    scene.rpc = std::make_unique<Rpc>();
    scene.open(scene.one_dir + "/pages", file_pages);
    scene.open(scene.two_dir + "/pages", file_pages);
    scene.one_homes = std::make_unique<Homes>("one", 1, scene.here.file(one_file).inode());
    scene.two_homes = std::make_unique<Homes>("two", 2, scene.here.file(two_file).inode());
    scene.one_pages = std::make_unique<FreshPages>(scene.here.file(one_file), *scene.one_homes, 1);
    scene.two_pages = std::make_unique<FreshPages>(scene.here.file(two_file), *scene.two_homes, 2);
    measure_faults(scene);
    measure_migration(scene);
    measure_operations(scene);
    measure_local(scene);
    measure_streams(scene);
}

}  // namespace

int main(int argc, char** argv) {
    krg::guest::set_program("krg-memory-bench");
    CLI::App app{"Measures shared memory between the nodes of a cluster"};
    app.require_subcommand(1);
    unsigned port = 7070;
    app.add_option("--port", port)->capture_default_str();
    app.add_subcommand("serve", "Do what the conductor says")->callback([&] { serve(port); });

    Scene scene;
    std::vector<std::string> addresses, rows;
    std::string output;
    CLI::App* conductor = app.add_subcommand("conduct", "Measure, on node 1");
    conductor->add_option("--others", addresses, "Addresses of nodes 2, 3, ...")->delimiter(',')->required();
    conductor->add_option("--one", scene.one_dir, "Mounted with name=one,replicas=1 everywhere")->required();
    conductor->add_option("--two", scene.two_dir, "Mounted with name=two,replicas=2 everywhere")->required();
    conductor->add_option("--nfs-server", scene.nfs_server, "What node 2 exports");
    conductor->add_option("--nfs-client", scene.nfs_client, "Where it is mounted here");
    conductor->add_option("--rows", rows, "Which, by name")->delimiter(',')->required();
    conductor->add_option("--samples", scene.samples, "Of single faults")->required();
    conductor->add_option("--rounds", scene.rounds, "Of whole files")->required();
    conductor->add_option("--mib", scene.mib, "Size of whole files")->required();
    conductor->add_option("--output", output, "JSON file")->required();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? krg::guest::done : krg::guest::usage;
    }
    scene.wanted = [&](const std::string& name) { return std::find(rows.begin(), rows.end(), name) != rows.end(); };
    try {
        conduct(scene, addresses, port, output);
    } catch (const std::exception& error) {
        krg::guest::fail(error.what());
    }
    return krg::guest::done;
}
