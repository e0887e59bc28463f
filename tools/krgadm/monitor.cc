// SPDX-License-Identifier: GPL-2.0
// `krgadm monitor`: the picture as `exists` lines, then `create`, `change` and `destroy` lines as things happen. When
// events were lost (the socket overran, or a number is missing) it says `resync -` and prints the picture again, so that a
// reader is never wrong for long.
#include <fmt/format.h>

#include "include/uapi/linux/kerrighed.h"
#include "tools/krgadm/commands.hh"
#include "tools/krgadm/output.hh"
#include "tools/lib/names.hh"

namespace krg {
namespace {

using Fields = std::vector<std::pair<std::string, Json>>;

class Printer {
public:
    Printer(Context& context, bool timestamps) : context_(context), timestamps_(timestamps) {}

    void line(const std::string& verb, const std::string& object, const Fields& fields, std::uint64_t time_ns = 0) {
        if (context_.json) {
            Json json = envelope("monitor");
            json["verb"] = verb;
            json["object"] = object;
            if (timestamps_ && time_ns != 0) json["boottime_ns"] = time_ns;
            for (const auto& [key, value] : fields) json[key] = value;
            context_.out << json.dump() << '\n' << std::flush;
            return;
        }
        if (timestamps_ && time_ns != 0)
            context_.out << fmt::format("{}.{:03} ", time_ns / 1000000000, time_ns / 1000000 % 1000);
        context_.out << verb << ' ' << object;
        for (const auto& [key, value] : fields) context_.out << ' ' << key << '=' << text(value);
        context_.out << '\n' << std::flush;
    }

private:
    /** Values with blanks are quoted as in JSON, so that a line splits at its blanks. */
    static std::string text(const Json& value) {
        if (value.is_array()) {
            std::string list;
            for (const auto& item : value) list += (list.empty() ? "" : ",") + item.dump();
            return list.empty() ? "-" : list;
        }
        if (!value.is_string()) return value.dump();
        const auto& string = value.get_ref<const std::string&>();
        if (string.empty()) return "-";
        return string.find_first_of(" \t\n\"=") == std::string::npos ? string : value.dump();
    }

    Context& context_;
    bool timestamps_;
};

void print_picture(Context& context, Printer& printer) {
    const Picture p = take_picture(context, false);
    const ClusterStatus& c = p.cluster;
    printer.line("exists", "cluster",
                 {{"name", c.name},
                  {"state", state_name(c.state)},
                  {"epoch", c.epoch},
                  {"members", c.members},
                  {"node", c.node_id},
                  {"quorum", c.has_quorum}});
    for (const auto& node : p.nodes)
        printer.line("exists", "node",
                     {{"id", node.id}, {"host", node.host}, {"state", node.state()}, {"incarnation", hex64(node.incarnation)}});
    for (const auto& link : p.links)
        printer.line("exists", "link", {{"name", link.name}, {"running", link.running}, {"bearer", link.bearer}});
    printer.line("exists", "-", {});
}

void print_event(Printer& printer, const Event& e) {
    const Fields node{{"id", e.node}, {"host", e.host}, {"epoch", e.epoch}, {"incarnation", hex64(e.incarnation)}};
    const auto with = [](Fields fields, const Fields& more) {
        fields.insert(fields.end(), more.begin(), more.end());
        return fields;
    };
    const Fields why{{"reason", reason_name(e.reason)}, {"text", e.text}};
    switch (e.kind) {
    case KRG_EVENT_KIND_NODE_UP: printer.line("create", "node", node, e.time_ns); break;
    case KRG_EVENT_KIND_NODE_DOWN:
        printer.line("destroy", "node", with(node, {{"reason", reason_name(e.reason)}}), e.time_ns);
        break;
    case KRG_EVENT_KIND_VIEW_PREPARE:
    case KRG_EVENT_KIND_VIEW_COMMIT:
        printer
            .line("change", "cluster",
                  {{"event", event_name(e.kind)}, {"state", state_name(e.state)}, {"epoch", e.epoch}, {"members", e.members}},
                  e.time_ns);
        break;
    case KRG_EVENT_KIND_LINK_UP:
    case KRG_EVENT_KIND_LINK_DOWN: {
        const bool up = e.kind == KRG_EVENT_KIND_LINK_UP;
        if (e.link.empty())
            printer.line("change", "peer", {{"id", e.node}, {"host", e.host}, {"connected", up}}, e.time_ns);
        else
            printer.line("change", "link", {{"name", e.link}, {"running", up}}, e.time_ns);
        break;
    }
    case KRG_EVENT_KIND_PEER_REFUSED:
        printer.line("change", "peer", with({{"id", e.node}, {"host", e.host}, {"event", event_name(e.kind)}}, why), e.time_ns);
        break;
    case KRG_EVENT_KIND_JOIN_REFUSED:
        printer.line("change", "cluster",
                     with({{"event", event_name(e.kind)}, {"state", state_name(e.state)}, {"by", e.node}}, why), e.time_ns);
        break;
    default:
        printer.line("change", "cluster",
                     with({{"event", event_name(e.kind)}, {"state", state_name(e.state)}, {"epoch", e.epoch}}, why), e.time_ns);
        break;
    }
}

}  // namespace

Exit monitor(Context& context, bool timestamps, unsigned limit) {
    Printer printer(context, timestamps);
    std::unique_ptr<EventSource> source;
    try {
        source = context.events();  // before the picture: nothing falls in between
    } catch (...) {
        rethrow_refusal("listen to events");
    }
    print_picture(context, printer);

    std::uint64_t expected = 0;
    for (unsigned count = 0; limit == 0 || count < limit;) {
        Message message;
        const auto outcome = source->next(message, std::chrono::milliseconds(1000));
        if (outcome == EventSource::Outcome::timeout) continue;
        const auto event = outcome == EventSource::Outcome::message ? parse_event(message) : std::nullopt;
        if (outcome == EventSource::Outcome::lost || (event && expected != 0 && event->seq != expected)) {
            printer.line("resync", "-", {});
            print_picture(context, printer);
            expected = 0;
        }
        if (!event) continue;
        print_event(printer, *event);
        expected = event->seq + 1;
        count++;
    }
    return Exit::done;
}

}  // namespace krg
