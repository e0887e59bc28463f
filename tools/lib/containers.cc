// SPDX-License-Identifier: GPL-2.0
// The lines of /proc/kerrighed/containers, and what follows from several of them.
#include "tools/lib/containers.hh"

#include <algorithm>
#include <charconv>
#include <sstream>
#include <tuple>

namespace krg {
namespace {

std::uint64_t to_number(const std::string& text) {
    std::uint64_t value = 0;
    const auto end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, value);
    return result.ec == std::errc() && result.ptr == end ? value : 0;
}

bool is_id(const std::string& word) {
    return word.size() == 16 && word.find_first_not_of("0123456789abcdef") == std::string::npos;
}

Container& container_of(std::vector<Container>& list, const std::string& id) {
    const auto found = std::find_if(list.begin(), list.end(), [&id](const auto& c) { return c.id == id; });
    if (found != list.end()) return *found;
    list.emplace_back();
    list.back().id = id;
    return list.back();
}

}  // namespace

std::string Pairs::text(const std::string& name) const {
    for (const auto& [key, value] : all)
        if (key == name) return value;
    return "";
}

std::uint64_t Pairs::number(const std::string& name) const { return to_number(text(name)); }

std::vector<std::uint64_t> Pairs::list(const std::string& name) const {
    std::vector<std::uint64_t> values;
    const std::string text_of = text(name);
    if (text_of.empty() || text_of == "-") return values;
    std::istringstream in(text_of);
    for (std::string word; std::getline(in, word, ',');) values.push_back(to_number(word));
    return values;
}

Pairs parse_pairs(const std::string& line) {
    Pairs pairs;
    std::istringstream words(line);
    for (std::string word; words >> word;)
        if (const auto at = word.find('='); at != std::string::npos)
            pairs.all.emplace_back(word.substr(0, at), word.substr(at + 1));
    return pairs;
}

std::uint64_t Container::sum(const std::string& pair) const {
    std::uint64_t total = 0;
    for (const auto& part : parts) total += part.pairs.number(pair);
    return total;
}

std::vector<std::uint64_t> Container::sum_list(const std::string& pair) const {
    std::vector<std::uint64_t> total;
    for (const auto& part : parts) {
        const auto values = part.pairs.list(pair);
        if (values.size() > total.size()) total.resize(values.size());
        for (std::size_t i = 0; i < values.size(); i++) total[i] += values[i];
    }
    return total;
}

Containers parse_containers(const std::string& text) {
    Containers found;
    found.loaded = true;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        ContainerPart part;
        part.pairs = parse_pairs(line);
        part.node = static_cast<NodeId>(part.pairs.number("node"));
        if (!part.pairs.text("error").empty()) {
            found.silent.push_back({part.node, static_cast<int>(part.pairs.number("error"))});
            continue;
        }
        std::istringstream words(line);
        std::string id;
        while (words >> id && !is_id(id)) {}
        if (!is_id(id)) continue;
        Container& c = container_of(found.list, id);
        const std::string name = part.pairs.text("name");
        if (!name.empty() && name != "-") {
            c.name = name;
            c.replicas = static_cast<unsigned>(part.pairs.number("replicas"));
        }
        c.parts.push_back(std::move(part));
    }
    std::sort(found.list.begin(), found.list.end(), [](const auto& a, const auto& b) {
        return std::tie(a.name, a.replicas, a.id) < std::tie(b.name, b.replicas, b.id);
    });
    return found;
}

}  // namespace krg
