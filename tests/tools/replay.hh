// SPDX-License-Identifier: GPL-2.0
// Recorded netlink messages in place of a kernel. A recording is text: `> OPERATION` starts an exchange, each following
// line is one reply in hexadecimal, or `error ERRNO TEXT`. The exchanges of one operation are played in order and the
// last one is repeated. `> event` exchanges are the multicast group; the line `lost` in one is an overrun.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tools/lib/netlink.hh"

namespace krg::test {

struct Exchange {
    std::vector<Message> replies;
    int error = 0;
    std::string error_text;
    bool lost = false;
};

/** The recording of one scenario, shared by all transports of a test. */
class Recording {
public:
    /** Throws std::runtime_error with the line that is wrong. */
    static std::shared_ptr<Recording> parse(const std::string& text);

    /** Plays the next exchange of @command. Throws what the kernel would refuse with. */
    std::vector<Message> play(std::uint8_t command);
    /** The next exchange of events; nothing when there is none left. */
    std::unique_ptr<Exchange> next_event();
    /** How often @operation was asked for. */
    [[nodiscard]] int asked(const std::string& operation) const;
    /** Attributes of the last request of @operation. */
    [[nodiscard]] Bytes last_request(const std::string& operation) const;
    void note_request(std::uint8_t command, std::span<const std::uint8_t> attributes);
    [[nodiscard]] bool has_family() const { return !exchanges_.empty(); }

private:
    std::map<std::uint8_t, std::deque<Exchange>> exchanges_;
    std::map<std::uint8_t, int> asked_;
    std::map<std::uint8_t, Bytes> requests_;
};

std::unique_ptr<Transport> replay(std::shared_ptr<Recording> recording);
std::unique_ptr<EventSource> replay_events(std::shared_ptr<Recording> recording);

/** KRG_CMD_* of an operation's name in kerrighed.yaml. */
std::uint8_t command_of(const std::string& operation);
std::string operation_of(std::uint8_t command);

}  // namespace krg::test
