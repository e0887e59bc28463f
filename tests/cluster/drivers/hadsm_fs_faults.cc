// SPDX-License-Identifier: GPL-2.0
//
// Scenarios of test_hadsm_fs about what cannot go well: pages that devices use while other nodes want them, pages of which only a dead
// node had a copy, a node that wakes after the others went on without it. Who is concerned is told so, and nobody else.
#include "hadsm_fs.hh"

#include <fmt/format.h>

namespace krg::cluster_test {

namespace {

Job device(const Test& test, int node, const std::string& arguments) {
    // Its status is said, too: a program that SIGBUS has ended says nothing by itself.
    return {node, {"sh", "-c", fmt::format("{} {}; echo status=$?", program(test, "krg-device"), arguments)}};
}

std::string fill(const Test& test, const std::string& arguments) {
    return fmt::format("{} {}", program(test, "krg-memory-fill"), arguments);
}

/// The number behind NAME= in what a program said; -1: none.
long number_in(const std::string& text, const std::string& name) {
    const std::size_t at = text.find(name + "=");
    return at == std::string::npos ? -1 : std::atol(text.c_str() + at + name.size() + 1);
}

/// What `who` has counted in the file, as @p node sees it.
long counted(Test& test, int node, const std::string& file, unsigned pages, int who) {
    ProcessResult result = test.cluster.shell(node,
                                              fmt::format("{} counted {} {} {}", program(test, "krg-device"), file, pages, who),
                                              60);
    test.report.check(result.done(), fmt::format("node {} sees what {} has counted", node, who), result.evidence());
    return number_in(result.out, "counted");
}

/// A device fills first halves of pages, programs of other nodes write the second ones.
void device_reads(Test& test, const char* mount) {
    constexpr unsigned pages = 32, rounds = 60;
    const std::string file = fresh_dir(test, mount, "device") + "/file";
    const std::string source = fresh_dir(test, "/shared", "device") + "/source";
    (void)holds(test, 1, fmt::format("{} source {} {} {}", program(test, "krg-device"), source, pages, rounds), "has a device");
    (void)holds(test, 1, fmt::format("truncate -s {} {}", pages * 4096, file), fmt::format("makes a file in {}", mount));
    std::vector<std::unique_ptr<Beside>> writers;
    for (int node : {2, 3})
        writers.push_back(
            std::make_unique<Beside>(test, device(test, node, fmt::format("poke {} {} {} 15", file, pages, node)), "poke"));
    (void)holds(test, 1, fmt::format("{} read {} {} {} {}", program(test, "krg-device"), file, source, pages, rounds),
                "a device reads into the pages others write, and all is there after each round",
                fmt::format("rounds={}", rounds).c_str(), 110);
    for (int node : {2, 3}) {
        Beside& writer = *writers[static_cast<std::size_t>(node - 2)];
        const std::string late = writer.wait_end(60);
        const std::string said = writer.output();
        const bool right = late.empty() && said.find("status=0") != std::string::npos;
        test.report.check(right, fmt::format("node {} finds in its halves what it has written", node), late + said);
        const long wanted = number_in(said, "counted");
        const int other = node == 2 ? 3 : 2;
        const long seen = counted(test, other, file, pages, node);
        test.report.check(wanted > 0 && seen == wanted, fmt::format("node {} sees all of it", other),
                          fmt::format("{} of {}", seen, wanted));
        (void)holds(test, node, fmt::format("{} check {} {} {}", program(test, "krg-device"), file, pages, rounds),
                    "sees what the device has read");
    }
}

/// A page that a slow device reads into cannot leave. That has an end for everybody.
void held_page(Test& test, const char* mount) {
    const std::string file = fresh_dir(test, mount, "held") + "/file";
    (void)holds(test, 2, fmt::format("truncate -s 4096 {}", file), fmt::format("makes a file in {}", mount));
    Beside holder(test, device(test, 1, fmt::format("hold {} 20", file)), "hold");
    const long pinned = proc_sum(test, 1, "containers", "pinned");
    std::string missing = holder.wait_for("held");
    test.report.require(missing.empty(), "node 1: a slow device has begun", missing);
    fails(test, 2, fmt::format("head -c 1 {} >/dev/null", file), "Device or resource busy", "reading it ends with EBUSY");
    ProcessResult store = test.cluster.exec(3, device(test, 3, fmt::format("poke {} 1 3 1", file)).words, 30);
    test.report.check(store.out.find("status=135") != std::string::npos, "node 3: a store ends with SIGBUS", store.evidence());
    test.report.check(holder.output().find("released") == std::string::npos, "that was while it was held", holder.output());
    test.report.check(proc_sum(test, 1, "containers", "pinned") >= pinned + 2, "node 1 has counted both");
    missing = holder.wait_for("released", 60);
    test.report.check(missing.empty(), "node 1: the device is done", missing);
    for (int node : {2, 3}) {
        ProcessResult result = test.cluster.exec(node, device(test, node, fmt::format("poke {} 1 {} 1", file, node)).words, 30);
        test.report.check(result.out.find("status=0") != std::string::npos, fmt::format("node {} writes it then", node),
                          result.evidence());
    }
}

/// Objects of which nobody has a copy, at all homes.
long lost_pages(Test& test) {
    long sum = 0;
    for (int node : running(test)) sum += proc_sum(test, node, "containers", "lost");
    return sum;
}

}  // namespace

void scenario_devices(Test& test) {
    prepare(test);
    for (const char* mount : {one_copy, two_copies}) {
        device_reads(test, mount);
        held_page(test, mount);
    }
}

void scenario_copies_lost(Test& test) {
    prepare(test);
    constexpr unsigned pages = 100;
    const std::string one = fresh_dir(test, one_copy, "lost"), two = fresh_dir(test, two_copies, "lost"),
                      seed = next_seed(test);
    (void)holds(test, 3, fill(test, fmt::format("write {}/mine {} {}", one, seed, pages)), "writes a file with one copy");
    (void)holds(test, 3, fill(test, fmt::format("write {}/mine {} {}", two, seed, pages)), "writes one with two");
    (void)holds(test, 3, fmt::format("sync -f {}/mine", two), "has that on another node");
    (void)holds(test, 1, fill(test, fmt::format("write {}/other {} {}", one, seed, pages)), "writes a file, too");
    const long before = lost_pages(test);
    test.cluster.crash(3);
    require_view(test, {1, 2}, "node 3 is dead", 60);
    for (int node : {1, 2}) {
        fails(test, node, fill(test, fmt::format("check {}/mine {} {}", one, seed, pages)), "page 0: Input/output error",
              "what only node 3 had is lost, and says so");
        (void)holds(test, node, fill(test, fmt::format("check {}/other {} {}", one, seed, pages)), "the rest of it goes on",
                    nullptr, 60);
        (void)holds(test, node, fill(test, fmt::format("check {}/mine {} {}", two, seed, pages)), "and all that had two copies",
                    nullptr, 60);
        (void)holds(test, node, fmt::format("stat -c %s {}/mine", one), "the name is there",
                    std::to_string(pages * 4096).c_str());
    }
    ProcessResult load = test.cluster.exec(2, device(test, 2, fmt::format("poke {}/mine 1 2 1", one)).words, 30);
    test.report.check(load.out.find("status=135") != std::string::npos, "node 2: through a mapping that is SIGBUS",
                      load.evidence());
    const long lost = lost_pages(test);
    test.report.check(lost >= before + pages, "the nodes have counted the pages", fmt::format("{}, {} before", lost, before));
    const ProcessResult health = test.cluster.krgadm(1, {"health"});
    test.report.check(health.out.find("KRG_PAGES_LOST") != std::string::npos, "krgadm health tells of it", health.evidence());
    (void)holds(test, 2, fmt::format("truncate -s 0 {}/mine", one), "truncates it");
    (void)holds(test, 2, fill(test, fmt::format("write {}/mine {} {}", one, seed, pages)), "writes it again", nullptr, 60);
    (void)holds(test, 1, fill(test, fmt::format("check {}/mine {} {}", one, seed, pages)), "reads that", nullptr, 60);
    const std::string left = wait_until("they are lost no more", test.cluster.limit(30), [&] {
        const long now = lost_pages(test);
        return now <= lost - pages ? std::string() : fmt::format("{}, {} before", now, lost);
    });
    test.report.check(left.empty(), "what was written again is lost no more", left);
    test.cluster.boot(3);
    prepare(test);
}

void scenario_paused(Test& test) {
    prepare(test);
    constexpr unsigned pages = 16;
    for (const char* mount : {one_copy, two_copies}) {
        const std::string file = fresh_dir(test, mount, "paused") + "/file";
        (void)holds(test, 1, fmt::format("truncate -s {} {}", pages * 4096, file), fmt::format("makes a file in {}", mount));
        Beside sleeper(test, device(test, 3, fmt::format("poke {} {} 3 600", file, pages)), "paused");
        sleep_s(3);
        test.cluster.pause(3);
        require_view(test, {1, 2}, "they go on without node 3", 60);
        ProcessResult writes = test.cluster.exec(1, device(test, 1, fmt::format("poke {} {} 1 3", file, pages)).words, 60);
        // With one copy the pages that node 3 had for itself are lost.
        const bool went_on = writes.out.find(mount == one_copy ? "status=135" : "status=0") != std::string::npos;
        test.report.check(went_on, mount == one_copy ? "node 1: what node 3 alone had is lost" : "node 1 writes",
                          writes.evidence());
        const long before = mount == one_copy ? 0 : counted(test, 2, file, pages, 3);
        test.cluster.resume(3);
        const std::string late = sleeper.wait_end(60);
        test.report.check(late.empty() && sleeper.output().find("status=135") != std::string::npos,
                          "node 3: the program ends with SIGBUS", late + sleeper.output());
        fails(test, 3, fmt::format("head -c 1 {}", file), "Input/output error", "what is mounted answers EIO");
        if (mount == two_copies) {
            const long after = counted(test, 1, file, pages, 3);
            test.report.check(before > 0 && after == before, "nothing it did after waking is there",
                              fmt::format("{} before, {} after", before, after));
        }
        require_view(test, {1, 2, 3}, "node 3 comes back", 120);
        prepare(test);
        if (mount == two_copies)
            (void)holds(test, 3, fmt::format("{} counted {} {} 3", program(test, "krg-device"), file, pages),
                        "and sees the same", fmt::format("counted={}", before).c_str());
    }
}

}  // namespace krg::cluster_test
