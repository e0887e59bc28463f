// SPDX-License-Identifier: GPL-2.0
//
// crsuite: runs any folder of programs that keep to the protocol of tests/cr/program.hh on a virtual cluster, does something to
// each while it waits (crsuite_operation.hh), and reports pass, fail or refused.
#include "crsuite_operation.hh"

#include "../lib/report.hh"

#include <CLI/CLI.hpp>
#include <atomic>
#include <filesystem>
#include <fmt/format.h>
#include <fnmatch.h>
#include <fstream>
#include <iostream>
#include <mutex>
#include <thread>
#include <unistd.h>

namespace krg::cluster_test {

namespace {

namespace fs = std::filesystem;

struct Options {
    std::string top, programs, mode, only = "*", json, kernel = "6.1";
    int nodes = 0, jobs = 4;
    double limit_s = 120;
    bool no_build = false;
};

struct Result {
    std::string program, result, reason;
    double seconds = 0;
};

const std::string base = "/shared/crsuite";

std::string judge_of(const Options& options) { return options.top + "/build/host/bin/krg-cr-judge"; }

bool is_program(const fs::directory_entry& entry) {
    const std::string name = entry.path().filename();
    return entry.is_regular_file() && access(entry.path().c_str(), X_OK) == 0 && name[0] != '.' &&
           entry.path().extension() != ".args" && entry.path().extension() != ".so";
}

std::vector<std::string> programs_in(const Options& options) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(options.programs)) {
        const std::string name = entry.path().filename();
        if (is_program(entry) && fnmatch(options.only.c_str(), name.c_str(), 0) == 0) names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

// Links that lead out of the folder are followed: what they lead to may not be there on another node.
void copy_folder(const fs::path& from, const fs::path& top, const fs::path& to) {
    fs::create_directories(to);
    for (const auto& entry : fs::directory_iterator(from)) {
        const fs::path target = to / entry.path().filename();
        const std::string real = fs::weakly_canonical(entry.path());
        const bool inside = real.rfind(top.string() + "/", 0) == 0;
        if (entry.is_symlink() && inside && !fs::read_symlink(entry.path()).is_absolute())
            fs::copy_symlink(entry.path(), target);
        else if (entry.is_directory())
            copy_folder(entry.path(), top, target);
        else if (entry.is_regular_file())
            fs::copy_file(entry.path(), target);
    }
}

class Suite {
public:
    Suite(const Options& options, Cluster& cluster, const Operation& operation, const std::string& host_shared)
        : options_(options),
          cluster_(cluster),
          operation_(operation),
          host_base_(host_shared + "/crsuite") {
        copy_folder(fs::canonical(options.programs), fs::canonical(options.programs), host_base_ + "/programs");
        fs::create_directories(host_base_ + "/scratch");
        judge_ = judge_of(options);
    }

    std::vector<Result> run(const std::vector<std::string>& names) {
        std::vector<Result> results(names.size());
        std::atomic<size_t> next{0};
        std::vector<std::thread> workers;
        for (int i = 0; i < options_.jobs; ++i)
            workers.emplace_back([&] {
                for (size_t at; (at = next++) < names.size();) results[at] = guarded(names[at], at + 1, names.size());
            });
        for (auto& worker : workers) worker.join();
        return results;
    }

private:
    Result guarded(const std::string& name, size_t at, size_t of) {
        const double begin = monotonic_s();
        Result result{name, "fail", {}, 0};
        try {
            check_interrupt();
            one(result);
        } catch (const std::exception& error) {
            result.reason = error.what();
        }
        result.seconds = monotonic_s() - begin;
        const std::lock_guard<std::mutex> guard(printing_);
        fmt::print("# {}/{} {} {}{}{} ({:.1f} s)\n", at, of, result.result, name, result.reason.empty() ? "" : ": ",
                   result.reason, result.seconds);
        std::fflush(stdout);
        return result;
    }

    std::vector<std::string> words_for(const std::string& name, const std::string& work) const {
        std::vector<std::string> words{base + "/programs/" + name, "--pidfile=" + work + "/pid", "--outfile=" + work + "/out"};
        std::ifstream arguments(host_base_ + "/programs/" + name + ".args");
        for (std::string word; arguments >> word;) {
            const size_t at = word.find('=');
            std::string option = word.substr(0, at), value = at == std::string::npos ? "data" : word.substr(at + 1);
            if (option.rfind("--", 0) != 0 && (option == "filename" || option == "dirname")) option.insert(0, "--");
            if (option != "--filename" && option != "--dirname")
                words.push_back(word);
            else
                words.push_back(option + "=" + work + "/" + fs::path(value).filename().string());
        }
        return words;
    }

    ProcessResult judge(int node, std::vector<std::string> words) const {
        words.insert(words.begin(), judge_);
        return cluster_.exec(node, words, options_.limit_s + 60);
    }

    void one(Result& result) {
        const std::string work = base + "/scratch/" + result.program, token = result.program + "." + std::to_string(getpid());
        // Programs may change who they are.
        fs::create_directories(host_base_ + "/scratch/" + result.program);
        fs::permissions(host_base_ + "/scratch/" + result.program, fs::perms::all);
        const std::string limit = fmt::format("{}", cluster_.limit(options_.limit_s));
        std::vector<std::string> words{"start", "--work", work, "--token", token, "--limit", limit};
        for (const std::string& word : words_for(result.program, work)) words.push_back(word);
        const ProcessResult started = judge(1, words);
        Place place{1, 0, work, token};
        if (started.out.rfind("pid ", 0) != 0) {
            result.reason = started.out.rfind("fail: ", 0) == 0 ? first_line(started.out.substr(6)) : started.evidence();
        } else {
            place.pid = std::stol(started.out.substr(4));
            const OperationResult operated = operation_.perform(cluster_, place);
            place = operated.place;
            result.reason = operated.reason;
            if (operated.kind != OperationResult::Kind::failed) {
                // What was refused goes on untouched: it has to pass all the same.
                const ProcessResult ended = judge(place.node, {"finish", "--work", work, "--token", token, "--limit", limit,
                                                               "--pid", std::to_string(place.pid)});
                verdict(ended, operated.kind == OperationResult::Kind::refused, result);
            }
        }
        for (int node = 1; node <= cluster_.options().nodes; ++node) (void)judge(node, {"clean", "--token", token});
    }

    static std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

    static void verdict(const ProcessResult& ended, bool refused, Result& result) {
        if (ended.done()) {
            result.result = refused ? "refused" : "pass";
            if (ended.out.rfind("remark ", 0) == 0)
                result.reason += (result.reason.empty() ? "" : "; ") + first_line(ended.out.substr(7));
            return;
        }
        const size_t at = ended.out.find("fail: ");
        result.reason = (refused ? "refused, and then did not go on: " : "") +
                        (at == std::string::npos ? ended.evidence() : first_line(ended.out.substr(at + 6)));
    }

    const Options& options_;
    Cluster& cluster_;
    const Operation& operation_;
    std::string host_base_, judge_;
    std::mutex printing_;
};

int report(const Options& options, const std::vector<Result>& results) {
    std::map<std::string, int> count;
    fmt::print("\n{:<32} {:<8} {}\n", "program", "result", "reason");
    Json list = Json::array();
    for (const Result& result : results) {
        ++count[result.result];
        fmt::print("{:<32} {:<8} {}\n", result.program, result.result, result.reason);
        list.push_back({{"program", result.program},
                        {"mode", options.mode},
                        {"kernel", options.kernel},
                        {"result", result.result},
                        {"reason", result.reason}});
    }
    if (!options.json.empty()) {
        std::ofstream file(options.json);
        file << Json{{"version", 1}, {"results", list}}.dump(1) << "\n";
        if (!file.flush()) {
            fmt::print(stderr, "crsuite: cannot write {}\n", options.json);
            return 1;
        }
    }
    fmt::print("{} passed, {} failed{}\n", count["pass"], count["fail"],
               count["refused"] > 0 ? fmt::format(", {} refused", count["refused"]) : "");
    return count["fail"] == 0 ? 0 : 1;
}

// Logs of what failed outlive the cluster.
void keep(const Cluster& cluster, const std::string& shared, const std::vector<Result>& results) {
    const fs::path kept = fs::temp_directory_path() / fmt::format("crsuite.{}", getpid());
    for (const Result& result : results) {
        if (result.result != "fail") continue;
        for (const char* file : {"out", "output"}) {
            const fs::path from = fs::path(shared) / "crsuite/scratch" / result.program / file;
            std::error_code error;
            fs::create_directories(kept / result.program, error);
            fs::copy_file(from, kept / result.program / file, error);
        }
    }
    if (!fs::exists(kept)) return;
    for (int node = 1; node <= cluster.options().nodes; ++node)
        std::ofstream(kept / fmt::format("node-{}.log", node)) << cluster.log(node);
    fmt::print("# what the failed ones and the nodes wrote: {}\n", kept.string());
}

int run(const Options& options) {
    const std::vector<std::string> names = programs_in(options);
    if (names.empty()) {
        fmt::print(stderr, "crsuite: no executable in {} matches '{}'\n", options.programs, options.only);
        return 2;
    }
    const std::unique_ptr<Operation> operation = make_operation(options.mode, options.nodes, judge_of(options));
    ClusterOptions wanted;
    wanted.top = options.top;
    wanted.name = fmt::format("crsuite-{}", getpid());
    wanted.kernel = options.kernel;
    wanted.nodes = std::max(options.nodes, operation->nodes_needed());
    wanted.build = !options.no_build;
    wanted.patience = options.kernel == "debug" ? 4 : 1;
    wanted.load = options.mode != "none";
    catch_interrupts();
    Cluster cluster(wanted);
    cluster.up();
    operation->prepare(cluster);
    if (const std::string missing = missing_tools(cluster, *operation); !missing.empty()) {
        fmt::print(stderr, "crsuite: mode {} cannot run, nothing was started: a tool is missing on the nodes\n{}", options.mode,
                   missing);
        return 1;
    }
    const std::string shared = cluster.machines().at("shared");
    fmt::print("# {} programs, mode {}, {} nodes of {}\n", names.size(), options.mode, wanted.nodes, options.kernel);
    Suite suite(options, cluster, *operation, shared);
    const std::vector<Result> results = suite.run(names);
    keep(cluster, shared, results);
    cluster.down();
    return report(options, results);
}

}  // namespace

int main_crsuite(int argc, char** argv) {
    Options options;
    if (const char* kernel = std::getenv("KRG_KERNEL"); kernel != nullptr && *kernel != 0 && *kernel != '-')
        options.kernel = kernel;
    CLI::App app("Runs a folder of programs through checkpoint, restart and migration");
    app.name("tests/cluster/crsuite");
    app.add_option("--top", options.top)->group("")->required();
    app.add_option("--programs", options.programs, "The folder")->required()->check(CLI::ExistingDirectory);
    app.add_option("--mode", options.mode, "What is done to each")
        ->required()
        ->check(CLI::IsMember({"none", "checkpoint", "restart-elsewhere", "migrate", "roundtrip", "ring"}));
    app.add_option("--only", options.only, "Only programs that match this glob")->capture_default_str();
    app.add_option("--kernel", options.kernel, "6.1, 6.12 or debug")->capture_default_str();
    app.add_option("--json", options.json, "Write the results there");
    app.add_option("--nodes", options.nodes, "Machines (default: what the mode needs)");
    app.add_option("--jobs", options.jobs, "Programs at once")->capture_default_str()->check(CLI::Range(1, 32));
    app.add_option("--limit", options.limit_s, "Seconds a program may take to get ready, and to end")->capture_default_str();
    app.add_flag("--no-build", options.no_build, "Use what is built now");
    try {
        app.parse(argc, argv);
        return run(options);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    } catch (const std::exception& error) {
        fmt::print(stderr, "crsuite: {}\n", error.what());
        return 1;
    }
}

}  // namespace krg::cluster_test

int main(int argc, char** argv) { return krg::cluster_test::main_crsuite(argc, argv); }
