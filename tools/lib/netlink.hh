// SPDX-License-Identifier: GPL-2.0
// Generic netlink, wrapped once: requests and replies as objects that free themselves, refusals as exceptions with the
// kernel's own text. What the attributes mean is known to client.cc and tipc.cc. Transport is the seam where tests put
// recorded messages in place of a kernel.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct nl_msg;
struct nl_sock;
struct nlattr;

namespace krg {

using Bytes = std::vector<std::uint8_t>;

/** A refused request: the errno and, if the kernel gave one, its sentence. */
class NetlinkError : public std::runtime_error {
public:
    NetlinkError(int error, const std::string& text);

    [[nodiscard]] int error() const { return error_; }
    [[nodiscard]] bool has_text() const { return has_text_; }

private:
    int error_;
    bool has_text_;
};

/** The family does not exist: its module is not loaded. */
class NoFamily : public std::runtime_error {
public:
    explicit NoFamily(const std::string& family)
        : std::runtime_error("the kernel has no netlink family " + family),
          family_(family) {}

    [[nodiscard]] const std::string& family() const { return family_; }

private:
    std::string family_;
};

/** One request under construction. */
class Request {
public:
    explicit Request(std::uint8_t command, bool dump = false);

    Request& put_u8(int type, std::uint8_t value);
    Request& put_u16(int type, std::uint16_t value);
    Request& put_u32(int type, std::uint32_t value);
    Request& put_u64(int type, std::uint64_t value);
    Request& put_flag(int type);
    Request& put_string(int type, const std::string& value);
    Request& put_binary(int type, std::span<const std::uint8_t> value);
    /** Attributes that @fill puts go into a nest of @type. */
    Request& put_nest(int type, const std::function<void(Request&)>& fill);

    [[nodiscard]] std::uint8_t command() const { return command_; }
    [[nodiscard]] bool dump() const { return dump_; }
    /** The attributes as they will travel. */
    [[nodiscard]] std::span<const std::uint8_t> attributes() const;

private:
    struct Free {
        void operator()(nl_msg* message) const;
    };
    void check(int error) const;

    std::uint8_t command_;
    bool dump_;
    std::unique_ptr<nl_msg, Free> message_;
};

/** The attributes of a received message or of a nest in it; a view, valid as long as the bytes. */
class Attributes {
public:
    explicit Attributes(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

    [[nodiscard]] bool has(int type) const { return find(type) != nullptr; }
    [[nodiscard]] std::optional<std::uint64_t> number(int type) const;
    [[nodiscard]] std::uint64_t number_or(int type, std::uint64_t missing) const;
    [[nodiscard]] std::string text(int type) const;
    [[nodiscard]] std::optional<Bytes> binary(int type) const;
    [[nodiscard]] std::vector<std::uint64_t> numbers(int type) const;
    [[nodiscard]] Attributes nest(int type) const;

private:
    [[nodiscard]] const nlattr* find(int type) const;

    std::span<const std::uint8_t> bytes_;
};

/** One message of a family as it came, its generic netlink header read. */
struct Message {
    std::uint8_t command = 0;
    Bytes payload;  // attributes only

    [[nodiscard]] Attributes attributes() const { return Attributes(payload); }
};

/** Where requests go. */
class Transport {
public:
    virtual ~Transport() = default;
    /** Sends @request and returns the replies. Throws NetlinkError when it is refused. */
    virtual std::vector<Message> exchange(const Request& request) = 0;
};

/** Where events come from. */
class EventSource {
public:
    enum class Outcome { message, timeout, lost };

    virtual ~EventSource() = default;
    /** Waits for one message; lost: some were dropped because nobody read them in time. */
    virtual Outcome next(Message& message, std::chrono::milliseconds timeout) = 0;
};

/** A socket of the running kernel's family @family. Throws NoFamily. */
std::unique_ptr<Transport> open_family(const std::string& family);

/** The multicast group @group of @family. Throws NoFamily. */
std::unique_ptr<EventSource> open_events(const std::string& family, const std::string& group);

}  // namespace krg
