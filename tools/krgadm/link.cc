// SPDX-License-Identifier: GPL-2.0
// `krgadm link` and `krgadm stats`.
#include <algorithm>

#include <fmt/format.h>

#include "tools/krgadm/commands.hh"
#include "tools/krgadm/output.hh"

namespace krg {
namespace {

std::string_view link_state(const LinkInfo& link) {
    if (!link.present) return "missing";
    if (!link.running) return "down";
    return link.bearer ? "up" : "no-bearer";
}

Json link_json(const LinkInfo& link) {
    return {{"name", link.name},
            {"state", link_state(link)},
            {"mac", link.mac},
            {"mtu", link.mtu},
            {"running", link.running},
            {"bearer", link.bearer},
            {"filtering", link.filtering},
            {"plaintext_dropped", link.plaintext_dropped},
            {"hello_rx", link.hello_rx},
            {"hello_tx", link.hello_tx},
            {"hello_bad", link.hello_bad}};
}

std::vector<LinkInfo> links_of(Context& context) {
    try {
        return context.client().links();
    } catch (...) {
        rethrow_refusal("list the links");
    }
}

}  // namespace

Exit link_list(Context& context) {
    const auto links = links_of(context);
    if (context.json) {
        Json json = envelope("link list");
        json["links"] = Json::array();
        for (const auto& link : links) json["links"].push_back(link_json(link));
        print_json(context, json);
        return Exit::done;
    }
    Table table({"LINK", "STATE", "FILTER", "MAC", ">MTU", ">PLAINTEXT-DROPPED", ">HELLO-BAD"});
    for (const auto& link : links)
        table.row({link.name, std::string(link_state(link)), link.filtering ? "yes" : "no", link.mac, std::to_string(link.mtu),
                   std::to_string(link.plaintext_dropped), std::to_string(link.hello_bad)});
    table.print(context.out);
    return Exit::done;
}

Exit link_show(Context& context, const std::string& name) {
    const auto links = links_of(context);
    const auto link = std::find_if(links.begin(), links.end(), [&name](const auto& l) { return l.name == name; });
    if (link == links.end())
        throw Error(Exit::no_object, fmt::format("{} does not carry this cluster", name), "krgadm link list");
    if (context.json) {
        Json json = envelope("link show");
        json["link"] = link_json(*link);
        print_json(context, json);
        return Exit::done;
    }
    context.out << fmt::format("link    {}   {}   mac {}   mtu {}\n", link->name, link_state(*link), link->mac, link->mtu);
    context.out << fmt::format("filter  {}   unencrypted frames dropped {}\n", link->filtering ? "on" : "OFF",
                               link->plaintext_dropped);
    context.out << fmt::format("hello   received {}   sent {}   refused {}\n", link->hello_rx, link->hello_tx, link->hello_bad);
    return Exit::done;
}

Exit stats_show(Context& context, const std::string& name, std::optional<NodeId> peer, bool all) {
    std::vector<StatsEntry> entries;
    try {
        entries = context.client().stats();
    } catch (...) {
        rethrow_refusal("read the statistics");
    }
    const auto unwanted = [&](const StatsEntry& e) {
        const bool narrowed = !name.empty() || peer;
        if (!all && !narrowed && !context.json && e.value == 0) return true;
        return (!name.empty() && e.name != name && e.message != name) || (peer && e.peer != *peer);
    };
    entries.erase(std::remove_if(entries.begin(), entries.end(), unwanted), entries.end());
    if (context.json) {
        Json json = envelope("stats");
        json["stats"] = Json::array();
        for (const auto& e : entries) {
            Json entry{{"name", e.name}, {"value", e.value}};
            if (!e.message.empty()) entry["message"] = e.message;
            if (e.peer != 0) entry["peer"] = e.peer;
            if (!e.buckets.empty()) {
                entry["sum_us"] = e.sum_us;
                entry["buckets"] = e.buckets;
            }
            json["stats"].push_back(std::move(entry));
        }
        print_json(context, json);
        return Exit::done;
    }
    Table table({"NAME", "MESSAGE", ">PEER", ">VALUE", ">MEAN-US", ">P50-US", ">P99-US"});
    for (const auto& e : entries) {
        const bool histogram = !e.buckets.empty() && e.value > 0;
        table.row({e.name, e.message.empty() ? "-" : e.message, e.peer != 0 ? std::to_string(e.peer) : "-",
                   std::to_string(e.value), histogram ? std::to_string(e.sum_us / e.value) : "-",
                   histogram ? fmt::format("<{}", e.percentile_us(50)) : "-",
                   histogram ? fmt::format("<{}", e.percentile_us(99)) : "-"});
    }
    table.print(context.out);
    return Exit::done;
}

}  // namespace krg
