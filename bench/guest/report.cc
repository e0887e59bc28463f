// SPDX-License-Identifier: GPL-2.0
//
// See report.hh.
#include "report.hh"

#include <algorithm>
#include <cstdio>
#include <fcntl.h>
#include <fstream>
#include <unistd.h>

namespace krg::bench {

namespace {

constexpr const char* rpc_dir = "/sys/kernel/debug/krg_bench";
constexpr unsigned rest_ms = 10;  // what the last step left behind (confirmations, a fresh grant kept for a while) is over

nlohmann::json rpc_run(const std::string& order) {
    const std::string dir = rpc_dir;
    {
        const guest::Fd run = guest::open_file(dir + "/run", O_WRONLY);
        guest::write_all(run.get(), 0, order);
    }
    std::ifstream result(dir + "/result");
    const nlohmann::json json = nlohmann::json::parse(result, nullptr, false);
    if (json.is_discarded()) guest::fail("krg_bench has no result of: " + order);
    return json.at("rpc");
}

nlohmann::ordered_json summary(const Samples& samples) {
    return {{"median", samples.at(0.5)}, {"p10", samples.at(0.1)}, {"p90", samples.at(0.9)}, {"samples", samples.count()}};
}

}  // namespace

double Samples::at(double fraction) const {
    if (values_.empty()) guest::fail("nothing was measured");
    std::vector<double> sorted = values_;
    std::sort(sorted.begin(), sorted.end());
    const double place = fraction * static_cast<double>(sorted.size() - 1);
    const auto low = static_cast<std::size_t>(place);
    const std::size_t high = std::min(low + 1, sorted.size() - 1);
    return sorted[low] + (sorted[high] - sorted[low]) * (place - static_cast<double>(low));
}

Rpc::Rpc() {
    if (access(rpc_dir, F_OK) != 0) guest::fail_errno(std::string(rpc_dir) + " (krg_bench.ko is not loaded, or no debugfs)");
}

double Rpc::call(unsigned node, unsigned bytes) const {
    return rpc_run("call " + std::to_string(node) + " " + std::to_string(bytes) + " 1").at("median_ns");
}

double Rpc::stream(unsigned node, unsigned messages, unsigned rounds) const {
    const std::string order = "stream " + std::to_string(node) + " 65536 " + std::to_string(messages) + " " +
                              std::to_string(rounds);
    return rpc_run(order).at("median_bytes_per_s");
}

void Report::add(const std::string& row, const std::string& unit, const Samples& value, const Samples& baseline) {
    std::printf("%s: %.4g %s, baseline %.4g, ratio %.3f\n", row.c_str(), value.at(0.5), unit.c_str(), baseline.at(0.5),
                value.at(0.5) / baseline.at(0.5));
    std::fflush(stdout);
    rows_.push_back({{"row", row}, {"unit", unit}, {"value", summary(value)}, {"baseline", summary(baseline)}});
    guest::publish_text(path_, rows_.dump(1) + "\n");
}

void measure(Report& report, const std::string& row, const std::string& unit, unsigned samples, unsigned warm,
             const Pair& pair) {
    Samples value, baseline;
    for (unsigned i = 0; i < warm + samples; i++) {
        pair.prepare();
        double measured[2] = {};
        for (unsigned turn = 0; turn < 2; turn++) {
            const unsigned which = (turn + i) % 2;
            guest::sleep_ms(rest_ms);
            measured[which] = which == 0 ? pair.value() : pair.baseline();
        }
        if (i < warm) continue;
        value.add(measured[0]);
        baseline.add(measured[1]);
    }
    report.add(row, unit, value, baseline);
}

}  // namespace krg::bench
