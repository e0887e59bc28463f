// SPDX-License-Identifier: GPL-2.0
// Parses and plays recordings.
#include "tests/tools/replay.hh"

#include <array>
#include <sstream>
#include <stdexcept>

#include "include/uapi/linux/kerrighed.h"

namespace krg::test {
namespace {

constexpr std::array<std::string_view, KRG_CMD_MAX + 1> operations{"",
                                                                   "cluster-get",
                                                                   "cluster-create",
                                                                   "cluster-join",
                                                                   "cluster-leave",
                                                                   "cluster-recover",
                                                                   "cluster-power",
                                                                   "node-get",
                                                                   "node-evict",
                                                                   "node-drain",
                                                                   "link-get",
                                                                   "stats-get",
                                                                   "event"};

Bytes from_hex(const std::string& text) {
    Bytes bytes;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2)
        bytes.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
    return bytes;
}

void add_line(Exchange& exchange, std::uint8_t command, const std::string& line) {
    if (line == "lost") {
        exchange.lost = true;
    } else if (line.rfind("error ", 0) == 0) {
        std::size_t used = 0;
        exchange.error = std::stoi(line.substr(6), &used);
        if (line.size() > 7 + used) exchange.error_text = line.substr(7 + used);
    } else {
        exchange.replies.push_back({command, from_hex(line)});
    }
}

class Player : public Transport {
public:
    explicit Player(std::shared_ptr<Recording> recording) : recording_(std::move(recording)) {}

    std::vector<Message> exchange(const Request& request) override {
        recording_->note_request(request.command(), request.attributes());
        return recording_->play(request.command());
    }

private:
    std::shared_ptr<Recording> recording_;
};

class EventPlayer : public EventSource {
public:
    explicit EventPlayer(std::shared_ptr<Recording> recording) : recording_(std::move(recording)) {}

    Outcome next(Message& message, std::chrono::milliseconds) override {
        const auto exchange = recording_->next_event();
        if (!exchange) throw std::runtime_error("the recording has no more events");
        if (exchange->lost) return Outcome::lost;
        message = exchange->replies.at(0);
        return Outcome::message;
    }

private:
    std::shared_ptr<Recording> recording_;
};

}  // namespace

std::uint8_t command_of(const std::string& operation) {
    for (std::size_t i = 1; i < operations.size(); i++)
        if (operations[i] == operation) return static_cast<std::uint8_t>(i);
    throw std::runtime_error("no operation " + operation);
}

std::string operation_of(std::uint8_t command) { return std::string(operations.at(command)); }

std::shared_ptr<Recording> Recording::parse(const std::string& text) {
    auto recording = std::make_shared<Recording>();
    std::istringstream lines(text);
    Exchange* current = nullptr;
    std::uint8_t command = 0;
    for (std::string line; std::getline(lines, line);) {
        if (line.empty() || line[0] == '#') continue;
        if (line.rfind("> ", 0) == 0) {
            command = command_of(line.substr(2));
            current = &recording->exchanges_[command].emplace_back();
        } else if (current == nullptr) {
            throw std::runtime_error("a message before any operation: " + line);
        } else {
            add_line(*current, command, line);
        }
    }
    return recording;
}

std::vector<Message> Recording::play(std::uint8_t command) {
    auto& queue = exchanges_[command];
    asked_[command]++;
    if (queue.empty()) throw std::runtime_error("the recording has no " + operation_of(command));
    const Exchange exchange = queue.front();
    if (queue.size() > 1) queue.pop_front();
    if (exchange.error != 0) throw NetlinkError(exchange.error, exchange.error_text);
    return exchange.replies;
}

std::unique_ptr<Exchange> Recording::next_event() {
    auto& queue = exchanges_[KRG_CMD_EVENT];
    if (queue.empty()) return nullptr;
    auto exchange = std::make_unique<Exchange>(queue.front());
    queue.pop_front();
    return exchange;
}

int Recording::asked(const std::string& operation) const {
    const auto found = asked_.find(command_of(operation));
    return found == asked_.end() ? 0 : found->second;
}

Bytes Recording::last_request(const std::string& operation) const { return requests_.at(command_of(operation)); }

void Recording::note_request(std::uint8_t command, std::span<const std::uint8_t> attributes) {
    requests_[command] = Bytes(attributes.begin(), attributes.end());
}

std::unique_ptr<Transport> replay(std::shared_ptr<Recording> recording) {
    return std::make_unique<Player>(std::move(recording));
}

std::unique_ptr<EventSource> replay_events(std::shared_ptr<Recording> recording) {
    return std::make_unique<EventPlayer>(std::move(recording));
}

}  // namespace krg::test
