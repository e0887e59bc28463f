// SPDX-License-Identifier: GPL-2.0
// libnl behind the classes of netlink.hh. The receive loop is our own because libnl's callbacks hide the extended
// acknowledgement, where the kernel says why it refused.
#include "tools/lib/netlink.hh"

#include <cerrno>
#include <cstring>

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <sys/socket.h>

namespace krg {

NetlinkError::NetlinkError(int error, const std::string& text)
    : std::runtime_error(text.empty() ? std::strerror(error) : text),
      error_(error),
      has_text_(!text.empty()) {}

void Request::Free::operator()(nl_msg* message) const { nlmsg_free(message); }

Request::Request(std::uint8_t command, bool dump) : command_(command), dump_(dump), message_(nlmsg_alloc()) {
    if (!message_ || !nlmsg_put(message_.get(), NL_AUTO_PORT, NL_AUTO_SEQ, NLMSG_MIN_TYPE, 0, 0)) throw std::bad_alloc();
}

void Request::check(int error) const {
    if (error < 0) throw std::length_error("a netlink request is too long");
}

Request& Request::put_u8(int type, std::uint8_t value) {
    check(nla_put_u8(message_.get(), type, value));
    return *this;
}

Request& Request::put_u16(int type, std::uint16_t value) {
    check(nla_put_u16(message_.get(), type, value));
    return *this;
}

Request& Request::put_u32(int type, std::uint32_t value) {
    check(nla_put_u32(message_.get(), type, value));
    return *this;
}

Request& Request::put_u64(int type, std::uint64_t value) {
    check(nla_put_u64(message_.get(), type, value));
    return *this;
}

Request& Request::put_flag(int type) {
    check(nla_put_flag(message_.get(), type));
    return *this;
}

Request& Request::put_string(int type, const std::string& value) {
    check(nla_put_string(message_.get(), type, value.c_str()));
    return *this;
}

Request& Request::put_binary(int type, std::span<const std::uint8_t> value) {
    check(nla_put(message_.get(), type, static_cast<int>(value.size()), value.data()));
    return *this;
}

Request& Request::put_nest(int type, const std::function<void(Request&)>& fill) {
    nlattr* nest = nla_nest_start(message_.get(), type);
    if (nest == nullptr) throw std::length_error("a netlink request is too long");
    fill(*this);
    nla_nest_end(message_.get(), nest);
    return *this;
}

std::span<const std::uint8_t> Request::attributes() const {
    nlmsghdr* header = nlmsg_hdr(message_.get());
    return {static_cast<const std::uint8_t*>(nlmsg_data(header)), static_cast<std::size_t>(nlmsg_datalen(header))};
}

const nlattr* Attributes::find(int type) const {
    return nla_find(reinterpret_cast<const nlattr*>(bytes_.data()), static_cast<int>(bytes_.size()), type);
}

namespace {

std::optional<std::uint64_t> number_of(const nlattr* attr) {
    const auto read = [attr](auto value) {
        std::memcpy(&value, nla_data(attr), sizeof(value));
        return static_cast<std::uint64_t>(value);
    };
    switch (nla_len(attr)) {
    case 1: return read(std::uint8_t{});
    case 2: return read(std::uint16_t{});
    case 4: return read(std::uint32_t{});
    case 8: return read(std::uint64_t{});
    default: return std::nullopt;
    }
}

}  // namespace

std::optional<std::uint64_t> Attributes::number(int type) const {
    const nlattr* attr = find(type);
    return attr != nullptr ? number_of(attr) : std::nullopt;
}

std::uint64_t Attributes::number_or(int type, std::uint64_t missing) const { return number(type).value_or(missing); }

std::string Attributes::text(int type) const {
    const nlattr* attr = find(type);
    if (attr == nullptr) return {};
    const auto* data = static_cast<const char*>(nla_data(attr));
    return {data, strnlen(data, static_cast<std::size_t>(nla_len(attr)))};
}

std::optional<Bytes> Attributes::binary(int type) const {
    const nlattr* attr = find(type);
    if (attr == nullptr) return std::nullopt;
    const auto* data = static_cast<const std::uint8_t*>(nla_data(attr));
    return Bytes(data, data + nla_len(attr));
}

std::vector<std::uint64_t> Attributes::numbers(int type) const {
    std::vector<std::uint64_t> values;
    int left = static_cast<int>(bytes_.size());
    for (auto* attr = reinterpret_cast<const nlattr*>(bytes_.data()); nla_ok(attr, left); attr = nla_next(attr, &left)) {
        if (nla_type(attr) != type) continue;
        if (const auto value = number_of(attr)) values.push_back(*value);
    }
    return values;
}

Attributes Attributes::nest(int type) const {
    const nlattr* attr = find(type);
    if (attr == nullptr) return Attributes({});
    return Attributes({static_cast<const std::uint8_t*>(nla_data(attr)), static_cast<std::size_t>(nla_len(attr))});
}

namespace {

constexpr std::chrono::seconds reply_timeout{60};
constexpr int event_buffer_bytes = 1 << 20;
constexpr int dump_attempts = 8;

struct FreeSocket {
    void operator()(nl_sock* socket) const { nl_socket_free(socket); }
};
using Socket = std::unique_ptr<nl_sock, FreeSocket>;

struct FreeBuffer {
    void operator()(unsigned char* buffer) const { free(buffer); }
};
using Buffer = std::unique_ptr<unsigned char, FreeBuffer>;

Socket open_socket() {
    Socket socket(nl_socket_alloc());
    if (!socket) throw std::bad_alloc();
    if (const int error = genl_connect(socket.get()); error < 0)
        throw std::runtime_error(std::string("cannot open a netlink socket: ") + nl_geterror(error));
    const int on = 1;
    setsockopt(nl_socket_get_fd(socket.get()), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
    setsockopt(nl_socket_get_fd(socket.get()), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
    return socket;
}

int resolve(nl_sock* socket, const std::string& family) {
    const int id = genl_ctrl_resolve(socket, family.c_str());
    if (id < 0) throw NoFamily(family);
    return id;
}

bool wait_readable(int fd, std::chrono::milliseconds timeout) {
    pollfd entry{fd, POLLIN, 0};
    return poll(&entry, 1, static_cast<int>(timeout.count())) > 0;
}

/** Text of an error or done message whose fixed part is @fixed bytes. */
std::string extack_text(const nlmsghdr* header, int fixed) {
    if ((header->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
    const int length = static_cast<int>(header->nlmsg_len) - NLMSG_HDRLEN - fixed;
    if (length <= 0) return {};
    const auto* start = static_cast<const std::uint8_t*>(nlmsg_data(header)) + fixed;
    return Attributes({start, static_cast<std::size_t>(length)}).text(NLMSGERR_ATTR_MSG);
}

/** Throws if the message that ends a transaction says that it failed. */
void throw_if_refused(const nlmsghdr* header) {
    int error = 0;
    if (nlmsg_datalen(header) < static_cast<int>(sizeof(error))) return;
    std::memcpy(&error, nlmsg_data(header), sizeof(error));
    if (error == 0) return;
    const int fixed = header->nlmsg_type == NLMSG_ERROR ? NLMSG_ALIGN(sizeof(nlmsgerr)) : NLMSG_ALIGN(sizeof(int));
    throw NetlinkError(-error, extack_text(header, fixed));
}

Message to_message(const nlmsghdr* header) {
    const auto* data = static_cast<const std::uint8_t*>(nlmsg_data(header));
    const int length = nlmsg_datalen(header);
    if (length < static_cast<int>(GENL_HDRLEN)) throw std::runtime_error("the kernel sent a truncated message");
    return {data[0], Bytes(data + GENL_HDRLEN, data + length)};
}

class Live : public Transport {
public:
    explicit Live(const std::string& family) : socket_(open_socket()), family_(resolve(socket_.get(), family)) {}

    std::vector<Message> exchange(const Request& request) override {
        for (int attempt = 1;; attempt++) {
            std::vector<Message> replies;
            send(request);
            if (receive(replies) || attempt == dump_attempts) return replies;
        }
    }

private:
    void send(const Request& request) {
        std::unique_ptr<nl_msg, void (*)(nl_msg*)> message(nlmsg_alloc(), nlmsg_free);
        const int flags = NLM_F_REQUEST | NLM_F_ACK | (request.dump() ? NLM_F_DUMP : 0);
        const auto attributes = request.attributes();
        sequence_ = nl_socket_use_seq(socket_.get());
        if (!message || !genlmsg_put(message.get(), NL_AUTO_PORT, sequence_, family_, 0, flags, request.command(), 1) ||
            nlmsg_append(message.get(), const_cast<std::uint8_t*>(attributes.data()), attributes.size(), NLMSG_ALIGNTO) < 0)
            throw std::bad_alloc();
        if (const int error = nl_send_auto(socket_.get(), message.get()); error < 0)
            throw std::runtime_error(std::string("cannot send to the kernel: ") + nl_geterror(error));
    }

    /** Collects replies until the transaction ends; false: a dump was overtaken by a change, try again. */
    bool receive(std::vector<Message>& replies) {
        bool consistent = true;
        for (;;) {
            if (!wait_readable(nl_socket_get_fd(socket_.get()), reply_timeout))
                throw NetlinkError(ETIMEDOUT, "the kernel did not answer for 60 s");
            sockaddr_nl from{};
            unsigned char* raw = nullptr;
            int length = nl_recv(socket_.get(), &from, &raw, nullptr);
            Buffer buffer(raw);
            if (length < 0) throw std::runtime_error(std::string("cannot receive: ") + nl_geterror(length));
            for (auto* header = reinterpret_cast<nlmsghdr*>(raw); nlmsg_ok(header, length);
                 header = nlmsg_next(header, &length)) {
                if (header->nlmsg_seq != sequence_) continue;
                if ((header->nlmsg_flags & NLM_F_DUMP_INTR) != 0) consistent = false;
                if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE) {
                    throw_if_refused(header);
                    return consistent;
                }
                replies.push_back(to_message(header));
            }
        }
    }

    Socket socket_;
    int family_;
    std::uint32_t sequence_ = 0;
};

class LiveEvents : public EventSource {
public:
    LiveEvents(const std::string& family, const std::string& group) : socket_(open_socket()) {
        resolve(socket_.get(), family);
        const int id = genl_ctrl_resolve_grp(socket_.get(), family.c_str(), group.c_str());
        if (id < 0) throw NoFamily(family);
        nl_socket_set_buffer_size(socket_.get(), event_buffer_bytes, 0);
        if (const int error = nl_socket_add_membership(socket_.get(), id); error < 0)
            throw std::runtime_error(std::string("cannot listen to events: ") + nl_geterror(error));
    }

    Outcome next(Message& message, std::chrono::milliseconds timeout) override {
        if (!wait_readable(nl_socket_get_fd(socket_.get()), timeout)) return Outcome::timeout;
        sockaddr_nl from{};
        unsigned char* raw = nullptr;
        const int length = nl_recv(socket_.get(), &from, &raw, nullptr);
        Buffer buffer(raw);
        // libnl folds ENOBUFS into "out of memory".
        if (length == -NLE_NOMEM) return Outcome::lost;
        if (length < 0) throw std::runtime_error(std::string("cannot receive events: ") + nl_geterror(length));
        const auto* header = reinterpret_cast<const nlmsghdr*>(raw);
        if (length == 0 || !nlmsg_ok(header, length)) return Outcome::timeout;
        message = to_message(header);
        return Outcome::message;
    }

private:
    Socket socket_;
};

}  // namespace

std::unique_ptr<Transport> open_family(const std::string& family) { return std::make_unique<Live>(family); }

std::unique_ptr<EventSource> open_events(const std::string& family, const std::string& group) {
    return std::make_unique<LiveEvents>(family, group);
}

}  // namespace krg
