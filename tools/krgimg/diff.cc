// SPDX-License-Identifier: GPL-2.0
// krgimg diff. Object ids say nothing across images, so every record gets a name made of what stays the same: ids of
// processes, keys, addresses, or its place among its like; references are compared by the name of what they refer to.
#include <algorithm>
#include <map>
#include <optional>

#include <fmt/format.h>
#include <fmt/ostream.h>
#include <nlohmann/json.hpp>

#include "proc/core/layout.hh"
#include "proc/core/table.hh"
#include "tools/krgimg/commands.hh"
#include "tools/lib/chain.hh"
#include "tools/lib/image.hh"
#include "tools/lib/whole.hh"

namespace krg::image {
namespace {

/** Pages [begin, end) and what they are: equal contents have equal texts. */
struct Segment {
    u64 begin, end;
    std::string what;
};

std::string digest(const u8* at, size_t length) {
    u64 hash = 0xcbf29ce484222325;
    bool zero = true;
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ at[i]) * 0x100000001b3;
        zero = zero && at[i] == 0;
    }
    return zero ? "zero" : fmt::format("{:016x}{:08x}", hash, krg_ghost_crc32c(0, at, length));
}

class Picture {
public:
    explicit Picture(const std::string& path) {
        read(path, {[this](const Item& item) { add(item); },
                    [this](const Item& item, const std::vector<u8>& data) { add_data(item, data); }});
    }
    std::map<std::string, std::map<std::string, std::string>> records;  // by name: fields
    std::map<std::string, std::vector<Segment>> pages;                  // by name of the owner

private:
    std::string key_of(const Item& item) {
        const auto* rule = ghost::find_record(item.type);
        switch (item.type) {
        case KRG_GHOST_TASK: return std::to_string(item.number(KRG_GHOST_TASK_PID));
        case KRG_GHOST_ZOMBIE: return std::to_string(item.number(KRG_GHOST_ZOMBIE_PID));
        case KRG_GHOST_THREAD: return std::to_string(item.number(KRG_GHOST_THREAD_TID));
        case KRG_GHOST_SESSION: return std::to_string(item.number(KRG_GHOST_SESSION_SID));
        case KRG_GHOST_GROUP: return std::to_string(item.number(KRG_GHOST_GROUP_PGID));
        case KRG_GHOST_MM: return fmt::format("{:#x}", item.number(KRG_GHOST_MM_KEY));
        case KRG_GHOST_MEMORY: return fmt::format("{:#x}", item.number(KRG_GHOST_MEMORY_KEY));
        default: break;
        }
        if (rule && rule->count > 1) {
            const auto& second = ghost::table().fields[rule->first + 1];
            if (second.rules & ghost::rule_key) return fmt::format("{:#x}", item.number(second.id));
        }
        return fmt::format("no. {}", ++places_[owner_of(item) + item.name]);
    }
    std::string owner_of(const Item& item) const { return item.owner ? names_.at(item.owner) + " / " : ""; }
    std::string value_of(const Item& item, const Value& value) const {
        if (value.kind == KRG_GHOST_REF) return value.number ? names_.at(value.number) : "none";
        if (value.kind != KRG_GHOST_REFS)
            return value.bytes.size() > 32 ? digest(reinterpret_cast<const u8*>(value.bytes.data()), value.bytes.size())
                                           : shown(item.type, value);
        std::string out;
        for (size_t i = 0; i + 8 <= value.bytes.size(); i += 8)
            out += (i ? ", " : "") + names_.at(ghost::load(reinterpret_cast<const u8*>(value.bytes.data()) + i, 8));
        return out;
    }
    void add(const Item& item) {
        current_.clear();
        if (item.skipped || item.type == KRG_GHOST_END) return;
        if (item.type == KRG_GHOST_PAGES) return add_pages(item);
        current_ = owner_of(item) + item.name + " " + key_of(item);
        if (item.object) names_[item.object] = current_;
        auto& fields = records[current_];
        for (const Value& value : item.values)
            if (value.field != 1 || !item.owner) fields[value.name] = value_of(item, value);
    }
    void add_pages(const Item& item) {
        static constexpr const char* sources[] = {"", "zero", "parent", "twin", "follows"};
        const u64 source = item.number(KRG_GHOST_PAGES_SOURCE), at = item.number(KRG_GHOST_PAGES_AT);
        if (source == KRG_GHOST_SOURCE_HERE) return;
        std::string what = sources[source];
        if (source == KRG_GHOST_SOURCE_TWIN)
            what += fmt::format(" of {} {:x}", names_.at(item.number(KRG_GHOST_PAGES_TWIN)),
                                item.number(KRG_GHOST_PAGES_TWIN_AT) - at);
        put(item.owner, {at, at + item.number(KRG_GHOST_PAGES_COUNT) * ghost::page_size, what});
    }
    void add_data(const Item& item, const std::vector<u8>& data) {
        if (item.type != KRG_GHOST_PAGES) {
            if (!current_.empty())
                records[current_]["data"] = fmt::format("{} bytes {}", data.size(), digest(data.data(), data.size()));
            return;
        }
        const u64 at = item.number(KRG_GHOST_PAGES_AT), count = item.number(KRG_GHOST_PAGES_COUNT);
        const u64 codec = item.number(KRG_GHOST_PAGES_CODEC);
        if (codec)
            return put(item.owner, {at, at + count * ghost::page_size,
                                    fmt::format("packed {} {:x} {}", codec, at, digest(data.data(), data.size()))});
        for (u64 page = 0; page < count; page++)
            put(item.owner, {at + page * ghost::page_size, at + (page + 1) * ghost::page_size,
                             digest(data.data() + page * ghost::page_size, ghost::page_size)});
    }
    /** In rounds pages come again: the last run holds, so what it covers is cut away. */
    void put(u64 owner, const Segment& fresh) {
        auto& list = pages[names_.at(owner)];
        if (!list.empty() && list.back().end > fresh.begin) {
            std::vector<Segment> kept;
            for (const Segment& old : list) {
                if (old.begin < fresh.begin) kept.push_back({old.begin, std::min(old.end, fresh.begin), old.what});
                if (old.end > fresh.end) kept.push_back({std::max(old.begin, fresh.end), old.end, old.what});
            }
            list = std::move(kept);
        }
        const auto before = [](const Segment& x, const Segment& y) { return x.begin < y.begin; };
        list.insert(std::upper_bound(list.begin(), list.end(), fresh, before), fresh);
    }

    std::map<u64, std::string> names_;
    std::map<std::string, u64> places_;
    std::string current_;
};

class Differences {
public:
    explicit Differences(const Print& print) : print_(print) {}
    void say(const std::string& record, const std::string& field, const std::string& left, const std::string& right) {
        count++;
        if (print_.json)
            list.push_back({{"record", record}, {"field", field}, {"left", left}, {"right", right}});
        else
            fmt::print(print_.out, "{}{}{}: {} -> {}\n", record, field.empty() ? "" : " ", field, left, right);
    }
    u64 count = 0;
    Json list = Json::array();

private:
    const Print& print_;
};

template<typename Map, typename Both>
void side_by_side(const Map& left, const Map& right, Both both) {
    static const typename Map::mapped_type nothing{};
    auto l = left.begin();
    auto r = right.begin();
    while (l != left.end() || r != right.end()) {
        if (r == right.end() || (l != left.end() && l->first < r->first)) {
            both(l->first, &l->second, static_cast<const typename Map::mapped_type*>(nullptr));
            ++l;
        } else if (l == left.end() || r->first < l->first) {
            both(r->first, static_cast<const typename Map::mapped_type*>(nullptr), &r->second);
            ++r;
        } else {
            both(l->first, &l->second, &r->second);
            ++l, ++r;
        }
    }
}

/** Runs of pages that differ, joined where they touch. */
void compare_pages(Differences& out, const std::string& owner, const std::vector<Segment>& left,
                   const std::vector<Segment>& right) {
    std::vector<u64> edges;
    for (const auto* list : {&left, &right})
        for (const Segment& s : *list) edges.insert(edges.end(), {s.begin, s.end});
    std::sort(edges.begin(), edges.end());
    edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
    static const std::string none = "untouched";
    size_t l = 0, r = 0;
    u64 from = 0, to = 0;
    const auto flush = [&] {
        const std::string amount = fmt::format("{} pages", (to - from) / ghost::page_size);
        if (to > from) out.say(owner, fmt::format("{:#x} to {:#x}", from, to), amount, "other contents");
        from = to = 0;
    };
    const auto what = [&](const std::vector<Segment>& list, size_t& n, u64 at) -> const std::string& {
        while (n < list.size() && list[n].end <= at) n++;
        return n < list.size() && list[n].begin <= at ? list[n].what : none;
    };
    for (size_t i = 0; i + 1 < edges.size(); i++) {
        if (what(left, l, edges[i]) == what(right, r, edges[i])) continue;
        if (edges[i] != to) flush(), from = edges[i];
        to = edges[i + 1];
    }
    flush();
}

/** An increment that does not name its parent is compared as it was written. */
std::string comparable(const std::string& path, std::optional<Whole>& whole) {
    const Link link = link_of(path);
    if (link.parent && link.base.empty()) return path;
    return whole.emplace(path).path();
}

}  // namespace

Exit diff(const Print& print, const std::string& left, const std::string& right) {
    // Of increments and packed images the contents are compared, not how they were written.
    std::optional<Whole> whole_left, whole_right;
    const Picture a(comparable(left, whole_left)), b(comparable(right, whole_right));
    Differences out(print);
    side_by_side(a.records, b.records, [&](const std::string& name, const auto* l, const auto* r) {
        if (!l || !r) return out.say(name, "", l ? "there" : "absent", r ? "there" : "absent");
        side_by_side(*l, *r, [&](const std::string& field, const std::string* x, const std::string* y) {
            if (!x || !y || *x != *y) out.say(name, field, x ? *x : "default", y ? *y : "default");
        });
    });
    static const std::vector<Segment> none;
    side_by_side(a.pages, b.pages, [&](const std::string& owner, const auto* l, const auto* r) {
        compare_pages(out, owner, l ? *l : none, r ? *r : none);
    });
    if (print.json) {
        const Json json = {{"output_version", {{"command", "krgimg diff"}, {"major", 1}, {"minor", 0}}},
                           {"same", out.count == 0},
                           {"differences", out.list}};
        print.out << json.dump(print.pretty ? 2 : -1, ' ', false, Json::error_handler_t::replace) << '\n';
    }
    return out.count ? Exit::failed : Exit::done;
}

}  // namespace krg::image
