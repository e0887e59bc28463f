// SPDX-License-Identifier: GPL-2.0
//
// The patterns, and two searches: see kernel_log.hh.
#include "kernel_log.hh"

#include <algorithm>
#include <array>
#include <regex>

namespace krg::cluster_test {

namespace {

constexpr size_t context_lines = 30;

constexpr std::array patterns{
    LogPattern{R"(Kernel panic)", "panic"},
    LogPattern{R"(kernel BUG at)", "BUG"},
    LogPattern{R"(\bBUG: )", "BUG"},
    LogPattern{R"(\bOops\b)", "oops"},
    LogPattern{R"(general protection fault)", "oops"},
    LogPattern{R"(Unable to handle|unable to handle)", "oops"},
    LogPattern{R"(\bKASAN\b)", "KASAN"},
    LogPattern{R"(UBSAN:)", "UBSAN"},
    // The kernel's own tracing warns, once, when it has no memory for the fields of a module's events.
    LogPattern{R"(WARNING: CPU: .* event_define_fields\+)", "no memory for trace events"},
    LogPattern{R"(WARNING: CPU:)", "warning"},
    LogPattern{R"(WARNING: )", "lockdep"},
    LogPattern{R"(possible (circular|recursive) locking|inconsistent lock state|suspicious RCU usage|bad unlock balance)",
               "lockdep"},
    LogPattern{R"(held lock freed|lock held when returning to user space|MAX_LOCKDEP_[A-Z_]+ too low|turning off the locking)",
               "lockdep"},
    LogPattern{R"(sleeping function called from invalid context|scheduling while atomic)", "atomic sleep"},
    LogPattern{R"(soft lockup|hard LOCKUP)", "lockup"},
    LogPattern{R"(rcu.*(detected stalls|self-detected stall|detected expedited stalls|kthread starved))", "RCU stall"},
    LogPattern{R"(INFO: task .* blocked for more than)", "hung task"},
    LogPattern{R"(refcount_t: )", "reference count"},
    LogPattern{R"(list_(add|del) corruption)", "list corruption"},
    LogPattern{R"(ODEBUG: )", "object life"},
    LogPattern{R"(kmemleak: .* new suspected memory leak)", "kmemleak"},
    LogPattern{R"(kmemleak: (Memory pool empty|Cannot allocate a kmemleak_object|Automatic memory scanning thread ended))",
               "kmemleak"},
    LogPattern{R"(kmemleak: Cannot allocate a scan area)", "kmemleak scan area"},
    LogPattern{R"(page allocation failure|Out of memory)", "out of memory"},
    LogPattern{R"(Bad page|bad page|slab .*(corrupt|Poison|Objects remaining)|Objects remaining in)", "memory corruption"},
    LogPattern{R"(unregister_netdevice: waiting for)", "leaked network device"},
    LogPattern{R"(remove_proc_entry|leaking at least)", "leaked proc file"},
    LogPattern{R"(segfault at)", "segmentation fault"},
    LogPattern{R"(kerrighed: .*(internal check|check failed))", "module error"},
    LogPattern{R"(kerrighed: .*cannot start)", "cannot start"},
    LogPattern{R"(Call Trace:)", "call trace"},
};

const std::vector<std::regex>& compiled() {
    static const std::vector<std::regex> all = [] {
        std::vector<std::regex> list;
        list.reserve(patterns.size());
        for (const auto& pattern : patterns)
            list.emplace_back(pattern.regex.begin(), pattern.regex.end(), std::regex::optimize);
        return list;
    }();
    return all;
}

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    for (size_t at = 0; at < text.size();) {
        size_t end = std::min(text.find('\n', at), text.size());
        lines.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return lines;
}

std::string joined(const std::vector<std::string>& lines, size_t from, size_t count) {
    std::string text;
    for (size_t i = from; i < std::min(lines.size(), from + count); ++i) text += lines[i] + "\n";
    return text;
}

}  // namespace

std::span<const LogPattern> log_patterns() { return patterns; }

std::vector<LogFinding> find_splats(const std::string& log, const std::vector<std::string_view>& allowed, size_t limit) {
    std::vector<LogFinding> found;
    const auto lines = lines_of(log);
    // One splat has many matching lines: after a hit, what belongs to its context is passed over.
    for (size_t i = 0; i < lines.size() && found.size() < limit; ++i) {
        for (size_t p = 0; p < patterns.size(); ++p) {
            if (!std::regex_search(lines[i], compiled()[p])) continue;
            if (std::find(allowed.begin(), allowed.end(), patterns[p].what) != allowed.end()) break;
            found.push_back({static_cast<int>(i) + 1, patterns[p].what, joined(lines, i, context_lines)});
            i += context_lines - 1;
            break;
        }
    }
    return found;
}

std::vector<std::string> find_leaks(const std::string& report) {
    // Addresses without a name: a module that is gone. Modules lie from 0xffffffffc0000000 on, or from 0xffffffffa0000000
    // when the kernel is not relocated at random, as the debug kernel.
    static const std::regex ours(R"(\[(kerrighed|krg_\w+|hadsm)\]|\b0xffffffff[a-f][0-9a-f]{7}\b)");
    std::vector<std::string> leaks;
    std::string object;
    auto close = [&] {
        if (!object.empty() && std::regex_search(object, ours)) leaks.push_back(object);
        object.clear();
    };
    for (const auto& line : lines_of(report)) {
        if (line.starts_with("unreferenced object")) close();
        object += line + "\n";
    }
    close();
    return leaks;
}

}  // namespace krg::cluster_test
