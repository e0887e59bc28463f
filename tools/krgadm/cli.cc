// SPDX-License-Identifier: GPL-2.0
// The grammar: krgadm [OPTIONS] OBJECT COMMAND [ARGUMENTS]. Each command's options and what it calls; what it does is in
// the file named after its object.
#include "tools/krgadm/cli.hh"

#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "tools/krgadm/commands.hh"
#include "tools/krgadm/output.hh"
#include "tools/krgadm/version.hh"

namespace krg {
namespace {

constexpr unsigned default_wait_s = 60;

/** Everything the options write to; commands run after parsing. */
struct Arguments {
    ConfigOverrides overrides;
    NodeSelection selection;
    PageName page;
    std::string who, list, file, stat_name;
    unsigned wait_s = default_wait_s, peer = 0, limit = 0;
    bool wait = false, no_wait = false, detail = false, timestamps = false, all = false;
};

class Cli {
public:
    explicit Cli(Context& context) : context_(context), app_("Steer and watch a Kerrighed cluster.", "krgadm") {
        app_.set_version_flag("--version", std::string("krgadm ") + version);
        app_.add_flag("-j,--json", context_.json, "JSON on standard output");
        app_.add_flag("-p,--pretty", context_.pretty, "indented JSON");
        app_.add_flag("-y,--yes,--force", context_.assume_yes, "do it although it asks, or is unsafe");
        app_.add_option("--config", context_.config_path, "configuration file")->capture_default_str();
        app_.require_subcommand(0, 1);
        app_.fallthrough();
        app_.footer("Without a command: krgadm cluster status. See krgadm(8), kerrighed(7), krg-health(7).");
        command(&app_, "status", "the same as cluster status", [this] { return cluster_status(context_); });
        add_cluster();
        add_node();
        add_container();
        add_others();
        app_.final_callback([this] {
            if (app_.get_subcommands().empty()) chosen_ = [this] { return cluster_status(context_); };
        });
    }

    CLI::App& app() { return app_; }
    Exit run() { return chosen_(); }

    /** Prints what may come after @words; the last one is being typed and may be empty. */
    Exit complete(const std::vector<std::string>& words) {
        const CLI::App* at = &app_;
        for (std::size_t i = 0; i + 1 < words.size(); i++)
            for (const CLI::App* sub : at->get_subcommands(nullptr))
                if (sub->check_name(words[i])) at = sub;
        const std::string typed = words.empty() ? "" : words.back();
        std::vector<std::string> candidates;
        for (const CLI::App* sub : at->get_subcommands(nullptr)) candidates.push_back(sub->get_name());
        for (const CLI::App* level = at; level != nullptr && !typed.empty() && typed.front() == '-';
             level = level->get_parent())
            for (const CLI::Option* option : level->get_options())
                for (const auto& name : option->get_lnames()) candidates.push_back("--" + name);
        complete_objects(*at, candidates);
        for (const auto& candidate : candidates)
            if (candidate.rfind(typed, 0) == 0) context_.out << candidate << '\n';
        return Exit::done;
    }

private:
    using Action = std::function<Exit()>;

    CLI::App* command(CLI::App* parent, const std::string& name, const std::string& help, Action action) {
        CLI::App* sub = parent->add_subcommand(name, help);
        sub->fallthrough();
        sub->final_callback([this, sub, action = std::move(action)] {
            if (sub->get_subcommands().empty()) chosen_ = action;
        });
        return sub;
    }

    /** --wait[=SECONDS]; main() has turned a bare --wait into --wait=60. */
    void add_wait(CLI::App* sub, const std::string& what) {
        sub->add_option("--wait", a_.wait_s, what)
            ->type_name("SECONDS")
            ->check(CLI::Range(1U, 86400U))
            ->each([this](const std::string&) { a_.wait = true; });
    }

    [[nodiscard]] std::optional<Seconds> wait() const { return a_.wait ? std::optional(Seconds(a_.wait_s)) : std::nullopt; }

    void add_overrides(CLI::App* sub, bool create) {
        sub->add_option("--name", a_.overrides.name, "name of the cluster");
        sub->add_option("--node-id", a_.overrides.node_id, "id of this node")->check(CLI::Range(1, 126));
        sub->add_option("--host", a_.overrides.host, "name of this node");
        sub->add_option("--link", a_.overrides.links, "network device, may be repeated");
        sub->add_option("--key-file", a_.overrides.key_file, "file with the cluster key");
        sub->add_option("--witness", a_.overrides.witness, "tie-break file on storage all nodes share");
        if (create) sub->add_option("--lease-ms", a_.overrides.lease_ms, "lease of the new cluster in milliseconds");
    }

    void add_cluster() {
        CLI::App* cluster = command(&app_, "cluster", "the cluster, and this node's part in it",
                                    [this] { return cluster_status(context_); });
        cluster->require_subcommand(0, 1);
        command(cluster, "status", "state, epoch, members, health", [this] { return cluster_status(context_); });

        CLI::App* create = command(cluster, "create", "form a new cluster with this node as its first",
                                   [this] { return cluster_create(context_, a_.overrides, Seconds(a_.wait_s)); });
        add_overrides(create, true);
        add_wait(create, "wait so long until it serves");

        CLI::App* join = command(cluster, "join", "join the cluster of the configuration file",
                                 [this] { return cluster_join(context_, a_.overrides, wait()); });
        add_overrides(join, false);
        add_wait(join, "wait until this node is a member, give up after so long");

        CLI::App* leave = command(cluster, "leave", "leave as planned", [this] {
            return cluster_leave(context_, a_.no_wait ? std::nullopt : std::optional(Seconds(a_.wait_s)));
        });
        add_wait(leave, "wait so long until it is out");
        leave->add_flag("--no-wait", a_.no_wait, "return at once; TIPC's bearers stay until the next leave");

        CLI::App* start = command(cluster, "start", "at boot: join, or form the cluster if bootstrap = yes",
                                  [this] { return cluster_start(context_, Seconds(a_.wait_s)); });
        add_wait(start, "wait so long for the cluster");

        CLI::App* recover = command(cluster, "recover", "go on without quorum: the missing members are dead",
                                    [this] { return cluster_recover(context_, Seconds(a_.wait_s)); });
        add_wait(recover, "wait so long until it serves");

        command(cluster, "poweroff", "switch off every node",
                [this] { return cluster_power(context_, PowerAction::poweroff); });
        command(cluster, "reboot", "restart every node", [this] { return cluster_power(context_, PowerAction::reboot); });
        command(cluster, "showconf", "this node's configuration as a file", [this] { return cluster_showconf(context_); });
        CLI::App* apply = command(cluster, "apply", "check a configuration and install it",
                                  [this] { return cluster_apply(context_, a_.file); });
        apply->add_option("FILE", a_.file, "the file, - for standard input")->required();
    }

    void add_selection(CLI::App* sub) {
        sub->add_option("-n,--nodes", a_.selection.list, "node ids, for example 2,3,6-10");
        sub->add_option("-c,--count", a_.selection.count, "so many more, or fewer");
        sub->add_option("-t,--total", a_.selection.total, "until there are so many");
        sub->add_flag("-a,--all", a_.selection.all, "all others");
        add_wait(sub, "wait so long");
    }

    void add_node() {
        CLI::App* node = command(&app_, "node", "the nodes of the cluster", [this] { return node_list(context_); });
        node->alias("nodes");
        node->require_subcommand(0, 1);
        command(node, "list", "every node", [this] { return node_list(context_); });
        CLI::App* show = command(node, "show", "one node", [this] { return node_show(context_, a_.who); });
        show->add_option("NODE", a_.who, "id or host name")->required();

        CLI::App* evict = command(node, "evict", "remove a node now; it stays out",
                                  [this] { return node_evict(context_, a_.who, wait()); });
        evict->add_option("NODE", a_.who, "id or host name")->required();
        add_wait(evict, "wait until it is out");
        CLI::App* drain = command(node, "drain", "ask a node for a planned leave",
                                  [this] { return node_drain(context_, a_.who, wait()); });
        drain->add_option("NODE", a_.who, "id or host name")->required();
        add_wait(drain, "wait until it is out");

        CLI::App* status = command(node, "status", "id:state lines", [this] { return nodes_status(context_, a_.list); });
        status->add_option("-n,--nodes", a_.list, "only these, for example 2,3,6-10");
        CLI::App* add = command(node, "add", "wait for nodes to join (each by its own krgadm cluster join)",
                                [this] { return nodes_add(context_, a_.selection, Seconds(a_.wait_s)); });
        add_selection(add);
        CLI::App* del = command(node, "del", "planned leave of other nodes",
                                [this] { return nodes_del(context_, a_.selection, Seconds(a_.wait_s)); });
        add_selection(del);
    }

    void add_container() {
        CLI::App* container = command(&app_, "container", "shared memory: what it costs, what is lost, where a page is",
                                      [this] { return container_list(context_); });
        container->require_subcommand(0, 1);
        command(container, "list", "every container", [this] { return container_list(context_); });
        CLI::App* show = command(container, "show", "one container, or those of one file system",
                                 [this] { return container_show(context_, a_.who); });
        show->add_option("CONTAINER", a_.who, "id, the beginning of one, or the name of a file system")->required();
        CLI::App* page = command(container, "page", "where one page is, and what is done with it",
                                 [this] { return container_page(context_, a_.page); });
        page->add_option("CONTAINER", a_.page.container, "ID/FILE: id of the container, number of the file");
        page->add_option("INDEX", a_.page.index, "which page of the file, from 0");
        page->add_option("--file", a_.page.file, "a file and an offset in bytes, in place of CONTAINER and INDEX")
            ->expected(2)
            ->type_name("PATH OFFSET");
        page->add_flag("-a,--all", a_.page.all, "as every member sees it");
    }

    void add_others() {
        CLI::App* link = command(&app_, "link", "the network devices that carry the cluster",
                                 [this] { return link_list(context_); });
        link->require_subcommand(0, 1);
        command(link, "list", "every link", [this] { return link_list(context_); });
        CLI::App* show = command(link, "show", "one link", [this] { return link_show(context_, a_.who); });
        show->add_option("LINK", a_.who, "name of the device")->required();

        CLI::App* stats = command(&app_, "stats", "counters and latencies, per message type and peer", [this] {
            return stats_show(context_, a_.stat_name, a_.peer != 0 ? std::optional(static_cast<NodeId>(a_.peer)) : std::nullopt,
                              a_.all);
        });
        stats->add_option("NAME", a_.stat_name, "only this counter or message type");
        stats->add_flag("-a,--all", a_.all, "with counters that are 0");
        stats->add_option("--peer", a_.peer, "only this peer")->check(CLI::Range(1, 126));

        CLI::App* monitor_command = command(&app_, "monitor", "print what happens, as it happens",
                                            [this] { return monitor(context_, a_.timestamps, a_.limit); });
        monitor_command->add_flag("-t,--timestamps", a_.timestamps, "seconds since boot before each event");
        monitor_command->add_option("--limit", a_.limit, "end after so many events");

        CLI::App* health = command(&app_, "health", "what is wrong, and what to do",
                                   [this] { return health_show(context_, a_.detail); });
        health->add_flag("--detail", a_.detail, "with evidence and actions");
    }

    /** Names of nodes, containers or links, where the command takes one. */
    void complete_objects(const CLI::App& command, std::vector<std::string>& candidates) {
        const bool takes_node = command.get_name() == "evict" || command.get_name() == "drain" || command.get_name() == "show";
        if (!takes_node) return;
        if (command.get_parent()->get_name() == "container") {
            for (const auto& container : take_containers(context_).list)
                candidates.push_back(container.name.empty() ? container.id : container.name);
            return;
        }
        const Picture picture = take_picture(context_, false);
        if (command.get_parent()->get_name() == "link")
            for (const auto& link : picture.links) candidates.push_back(link.name);
        else
            for (const auto& node : picture.nodes) candidates.push_back(node.name());
    }

    Context& context_;
    CLI::App app_;
    Arguments a_;
    Action chosen_;
};

/** CLI11 would take the word after a bare --wait for its value. */
std::vector<std::string> prepared(const std::vector<std::string>& arguments) {
    std::vector<std::string> words(arguments.rbegin(), arguments.rend());
    for (auto& word : words)
        if (word == "--wait") word = fmt::format("--wait={}", default_wait_s);
    return words;
}

int guarded(Context& context, const std::function<Exit()>& body) {
    try {
        return static_cast<int>(body());
    } catch (const Error& error) {
        print_error(context, error);
        return static_cast<int>(error.code());
    } catch (const NoFamily& error) {
        print_error(context, Error(Exit::not_running, error.what(), "modprobe kerrighed, or krgadm cluster start"));
        return static_cast<int>(Exit::not_running);
    } catch (const std::exception& error) {
        print_error(context, Error(Exit::failed, error.what()));
        return static_cast<int>(Exit::failed);
    }
}

}  // namespace

int run_krgadm(const std::vector<std::string>& arguments, Context& context) {
    Cli cli(context);
    // What is being completed is not to be parsed: --help there is a word like any other.
    if (!arguments.empty() && arguments.front() == "__complete")
        return guarded(context, [&] { return cli.complete({arguments.begin() + 1, arguments.end()}); });
    try {
        cli.app().parse(prepared(arguments));
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return cli.app().exit(error, context.out, context.err);
        if (context.json)
            print_error(context, Error(Exit::usage, error.what(), "krgadm --help"));
        else
            context.err << "krgadm: " << error.what() << "\n  try: krgadm --help, or krgadm OBJECT --help\n";
        return static_cast<int>(Exit::usage);
    }
    return guarded(context, [&cli] { return cli.run(); });
}

}  // namespace krg
