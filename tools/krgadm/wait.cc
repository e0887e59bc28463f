// SPDX-License-Identifier: GPL-2.0
// Polls: the states waited for change a few times a second at most, and polling cannot miss one.
#include "tools/krgadm/wait.hh"

#include <fmt/format.h>

namespace krg {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds first_pause{20};
constexpr milliseconds longest_pause{250};
constexpr Seconds quiet{2};
constexpr Seconds line_every{5};

/** One line that is rewritten on a terminal, a line now and then elsewhere. */
class Progress {
public:
    Progress(Context& context, std::string what) : context_(context), what_(std::move(what)), start_(context.now()) {}
    ~Progress() {
        if (shown_ && context_.terminal) context_.err << '\n';
    }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    [[nodiscard]] milliseconds elapsed() const { return std::chrono::duration_cast<milliseconds>(context_.now() - start_); }

    void show() {
        if (elapsed() < quiet) return;
        if (!context_.terminal && shown_ && elapsed() - last_ < line_every) return;
        const auto text = fmt::format("krgadm: {}: {} s", what_, std::chrono::duration_cast<Seconds>(elapsed()).count());
        context_.err << (context_.terminal ? "\r" + text : text + "\n") << std::flush;
        shown_ = true;
        last_ = elapsed();
    }

private:
    Context& context_;
    std::string what_;
    std::chrono::steady_clock::time_point start_;
    milliseconds last_{0};
    bool shown_ = false;
};

}  // namespace

void wait_until(Context& context, const std::string& what, Seconds limit, const std::string& action,
                const std::function<bool()>& done) {
    Progress progress(context, what);
    milliseconds pause = first_pause;
    while (!done()) {
        if (progress.elapsed() >= limit)
            throw Error(Exit::timed_out, fmt::format("timed out after {} s: {}", limit.count(), what), action);
        progress.show();
        context.sleep(pause);
        pause = std::min(pause * 2, longest_pause);
    }
}

}  // namespace krg
