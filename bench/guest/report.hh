// SPDX-License-Identifier: GPL-2.0
//
// How krg-memory-bench measures and what it reports: value and baseline sample by sample in turn, the order turned round each
// time, so that whatever the host does meets both; median and spread of each. Round trips come from krg_bench.ko.
#pragma once

#include "team.hh"

#include <functional>
#include <nlohmann/json.hpp>

namespace krg::bench {

/// Sorted measurements.
class Samples {
public:
    void add(double value) { values_.push_back(value); }
    /// What a fraction of all lies below; 0.5: the median.
    [[nodiscard]] double at(double fraction) const;
    [[nodiscard]] std::size_t count() const { return values_.size(); }

private:
    std::vector<double> values_;
};

/// Our messages without anything around them, from this node to another; see kernel/bench/main.c.
class Rpc {
public:
    Rpc();
    /// Nanoseconds of one round trip.
    [[nodiscard]] double call(unsigned node, unsigned bytes) const;
    /// Bytes a second of one-way messages of 64 KiB.
    [[nodiscard]] double stream(unsigned node, unsigned messages, unsigned rounds) const;
};

/// One row after the other, into a file of JSON.
class Report {
public:
    explicit Report(std::string path) : path_(std::move(path)) {}
    void add(const std::string& row, const std::string& unit, const Samples& value, const Samples& baseline);

private:
    std::string path_;
    nlohmann::ordered_json rows_ = nlohmann::ordered_json::array();
};

/// One sample: `prepare` is not measured; the two others say what they have measured. Nothing runs for a moment in between.
struct Pair {
    std::function<void()> prepare;
    std::function<double()> value, baseline;
};

/// `samples` of them after some that do not count.
void measure(Report& report, const std::string& row, const std::string& unit, unsigned samples, unsigned warm,
             const Pair& pair);

}  // namespace krg::bench
