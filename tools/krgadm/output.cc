// SPDX-License-Identifier: GPL-2.0
// How text and JSON leave krgadm.
#include "tools/krgadm/output.hh"

#include <algorithm>

#include <fmt/format.h>

namespace krg {

Json envelope(const std::string& command) {
    Json json;
    json["output_version"] = {{"command", "krgadm " + command}, {"major", 1}, {"minor", 0}};
    return json;
}

void print_json(Context& context, const Json& json) { context.out << json.dump(context.pretty ? 2 : -1) << '\n'; }

void print_error(Context& context, const Error& error) {
    if (context.json) {
        Json json = envelope("error");
        json["error"] = {{"code", static_cast<int>(error.code())}, {"message", error.what()}};
        if (!error.action().empty()) json["error"]["action"] = error.action();
        context.err << json.dump(context.pretty ? 2 : -1) << '\n';
        return;
    }
    context.err << "krgadm: " << error.what() << '\n';
    if (!error.action().empty()) context.err << "  try: " << error.action() << '\n';
}

std::string duration(std::uint64_t ms) {
    const std::uint64_t s = ms / 1000;
    if (ms < 1000) return fmt::format("{}ms", ms);
    if (s < 60) return fmt::format("{}s", s);
    if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
    if (s < 86400) return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
    return fmt::format("{}d{:02}h", s / 86400, s / 3600 % 24);
}

std::string hex64(std::uint64_t value) { return fmt::format("{:016x}", value); }

std::string id_list(const std::vector<NodeId>& ids) {
    std::string text;
    for (std::size_t i = 0; i < ids.size();) {
        std::size_t last = i;
        while (last + 1 < ids.size() && ids[last + 1] == ids[last] + 1) last++;
        if (!text.empty()) text += ',';
        text += std::to_string(ids[i]);
        if (last > i) text += fmt::format("{}{}", last == i + 1 ? ',' : '-', ids[last]);
        i = last + 1;
    }
    return text.empty() ? "-" : text;
}

void Table::print(std::ostream& out) const {
    std::vector<std::size_t> widths;
    std::vector<bool> right;
    std::vector<std::string> titles;
    for (const auto& title : titles_) {
        right.push_back(title.front() == '>');
        titles.push_back(right.back() ? title.substr(1) : title);
        widths.push_back(titles.back().size());
    }
    for (const auto& row : rows_)
        for (std::size_t i = 0; i < row.size(); i++) widths[i] = std::max(widths[i], row[i].size());

    const auto line = [&](const std::vector<std::string>& cells) {
        std::string text;
        for (std::size_t i = 0; i < cells.size(); i++) {
            if (i > 0) text += "  ";
            text += right[i] ? fmt::format("{:>{}}", cells[i], widths[i]) : fmt::format("{:<{}}", cells[i], widths[i]);
        }
        out << text.substr(0, text.find_last_not_of(' ') + 1) << '\n';
    };
    line(titles);
    for (const auto& row : rows_) line(row);
}

}  // namespace krg
