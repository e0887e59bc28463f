// SPDX-License-Identifier: GPL-2.0
// One image out of a chain: the records of the newest, and page data from wherever they are.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <memory>
#include <random>
#include <unistd.h>

#include <fmt/format.h>

#include "proc/core/layout.hh"
#include "tools/lib/chain.hh"
#include "tools/lib/codec.hh"
#include "tools/lib/error.hh"

namespace krg::image {

namespace {

using ghost::page_size;
using Bytes = std::vector<u8>;

constexpr u64 run_pages = KRG_GHOST_DATA_MAX / page_size;
constexpr unsigned hops_max = 4096;  // of a page from image to image, and from twin to twin
constexpr size_t buffer_size = 1 << 20;
constexpr const char* use_earlier = "use an earlier version, or the last full image";

/** What pages belong to, in any image of a chain. */
struct Owner {
    bool memory = false;
    u64 key = 0;
    auto operator<=>(const Owner&) const = default;
};

struct Run {
    u64 at = 0, count = 0, source = 0, codec = 0;
    u64 offset = 0;  // of the data in the image
    u32 length = 0;
    Owner twin;
    u64 twin_at = 0;
};

Owner owner_of(const std::map<u64, Owner>& objects, u64 id) {
    const auto found = objects.find(id);
    return found == objects.end() ? Owner{} : found->second;
}

/** Ids of an image to keys that hold in all of a chain. */
void note_owner(std::map<u64, Owner>& objects, const Item& item) {
    if (item.type == KRG_GHOST_MM) objects[item.object] = {false, item.number(KRG_GHOST_MM_KEY)};
    if (item.type == KRG_GHOST_MEMORY) objects[item.object] = {true, item.number(KRG_GHOST_MEMORY_KEY)};
    if (item.type == KRG_GHOST_VMA) objects[item.object] = owner_of(objects, item.owner);
}

Run run_of(const std::map<u64, Owner>& objects, const Item& item) {
    Run run{item.number(KRG_GHOST_PAGES_AT),
            item.number(KRG_GHOST_PAGES_COUNT),
            item.number(KRG_GHOST_PAGES_SOURCE),
            item.number(KRG_GHOST_PAGES_CODEC),
            item.data_offset,
            item.data,
            {},
            item.number(KRG_GHOST_PAGES_TWIN_AT)};
    if (run.source == KRG_GHOST_SOURCE_TWIN) run.twin = owner_of(objects, item.number(KRG_GHOST_PAGES_TWIN));
    return run;
}

/** An image that others add to: where its pages are. */
class Base {
public:
    explicit Base(const Link& link) : path_(link.path) {
        std::map<u64, Owner> objects;
        const auto add = [&](const Item& item) { runs_[owner_of(objects, item.owner)].push_back(run_of(objects, item)); };
        // Data are checked here, so that what is read again later was right.
        const Summary summary = read(path_, {[&](const Item& item) {
                                                 note_owner(objects, item);
                                                 if (item.type == KRG_GHOST_PAGES && !item.data) add(item);
                                             },
                                             [&](const Item& item, const Bytes&) {
                                                 if (item.type == KRG_GHOST_PAGES) add(item);
                                             }});
        if (summary.number != link.number)
            throw Error(Exit::failed, path_ + " changed while it was read", "try again when nobody writes to it");
        for (auto& [owner, runs] : runs_)
            std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.at < b.at; });
        fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd_ < 0) throw Error(Exit::failed, fmt::format("{}: {}", path_, std::strerror(errno)));
    }
    ~Base() {
        if (fd_ >= 0) close(fd_);
    }
    Base(const Base&) = delete;
    Base& operator=(const Base&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] const Run* find(const Owner& owner, u64 at) const {
        const auto runs = runs_.find(owner);
        if (runs == runs_.end()) return nullptr;
        auto run = std::upper_bound(runs->second.begin(), runs->second.end(), at, [](u64 a, const Run& r) { return a < r.at; });
        if (run == runs->second.begin()) return nullptr;
        --run;
        return at - run->at < run->count * page_size ? &*run : nullptr;
    }
    /** The data of @run, unpacked. They hold until the next call. */
    const Bytes& data(const Run& run) {
        if (cached_ == &run) return cache_;
        Bytes bytes(run.length);
        size_t done = 0;
        while (done < bytes.size()) {
            const ssize_t got = pread(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(run.offset + done));
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) throw Error(Exit::failed, path_ + " changed while it was read", "try again when nobody writes to it");
            done += static_cast<size_t>(got);
        }
        cache_ = run.codec ? unpacked(path_, bytes, run) : std::move(bytes);
        cached_ = &run;
        return cache_;
    }
    static Bytes unpacked(const std::string& path, const Bytes& bytes, const Run& run) {
        auto plain = unpack(bytes, run.codec, run.count * page_size);
        if (!plain)
            throw Error(Exit::failed, fmt::format("{}: the packed pages at {:#x} are not {} pages", path, run.at, run.count),
                        "use another copy or an earlier version of this image");
        return std::move(*plain);
    }

private:
    std::string path_;
    int fd_ = -1;
    std::map<Owner, std::vector<Run>> runs_;
    const Run* cached_ = nullptr;
    Bytes cache_;
};

/** Bytes on their way to a file, many at a time. */
class Out {
public:
    Out(int fd, std::string path) : fd_(fd), path_(std::move(path)) { buffer_.reserve(buffer_size); }
    void put(const void* at, size_t length) {
        const auto* bytes = static_cast<const u8*>(at);
        buffer_.insert(buffer_.end(), bytes, bytes + length);
        if (buffer_.size() >= buffer_size) flush();
    }
    void flush() {
        for (size_t done = 0; done < buffer_.size();) {
            const ssize_t got = write(fd_, buffer_.data() + done, buffer_.size() - done);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0)
                throw Error(Exit::failed, fmt::format("cannot write what {} becomes: {}", path_, std::strerror(errno)),
                            errno == ENOSPC ? "make room where it goes" : "");
            done += static_cast<size_t>(got);
        }
        total += buffer_.size();
        buffer_.clear();
    }
    u64 total = 0;

private:
    int fd_;
    std::string path_;
    Bytes buffer_;
};

u64 fresh_number() {
    std::random_device random;
    u64 number = 0;
    while (!number) number = u64{random()} << 32 | random();
    return number;
}

/** Records out of an image into another one. */
class Rewriter {
public:
    Rewriter(const std::string& path, int fd, Codec codec, bool keep)
        : chain_(keep ? std::vector{link_of(path)} : chain_of(path)),
          codec_(codec),
          keep_(keep),
          out_(fd, chain_.front().path) {
        if (!keep_)
            for (size_t i = 1; i < chain_.size(); i++) bases_.push_back(std::make_unique<Base>(chain_[i]));
    }

    Summary run() {
        const std::string& path = chain_.front().path;
        // The first pass says how many objects there are, and checks everything.
        const Summary before = read(path, {});
        const u32 objects = static_cast<u32>(std::max<u64>(before.totals.objects, 1));
        memory_ = std::make_unique<u64[]>((krg_ghost_memory(objects) + 7) / 8);
        const u64 number = keep_ ? before.number : fresh_number(), features = keep_ ? before.features : 0;
        writer_ = krg_ghost_writer_init(memory_.get(), objects, nullptr, number, features);
        if (!writer_) throw Error(Exit::failed, path + ": features that cannot be kept");
        out_.put(krg_ghost_prologue(writer_), KRG_GHOST_PROLOGUE);
        read(path, {[this](const Item& item) {
                        note_owner(objects_, item);
                        if (!item.data) take(item, nullptr);
                    },
                    [this](const Item& item, const Bytes& data) { take(item, &data); }});
        u32 used = 0;
        if (krg_ghost_close(writer_, pieces_, &used)) refused();
        emit(used);
        out_.flush();
        return {number, features, out_.total, *krg_ghost_writer_totals(writer_)};
    }

private:
    [[noreturn]] void refused() const {
        const krg_ghost_error& error = *krg_ghost_writer_error(writer_);
        throw Error(Exit::failed, fmt::format("{} cannot be written again: {}", chain_.front().path, error.reason));
    }
    void emit(u32 used) {
        for (u32 i = 0; i < used; i++) out_.put(pieces_[i].at, pieces_[i].length);
    }
    void take(const Item& item, const Bytes* data) {
        if (item.skipped || item.type == KRG_GHOST_END) return;
        if (item.type == KRG_GHOST_PAGES) return take_pages(item, data);
        begin(item.type);
        for (const Value& value : item.values) {
            const bool chain = item.type == KRG_GHOST_IMAGE &&
                               (value.field == KRG_GHOST_IMAGE_CHAIN || value.field == KRG_GHOST_IMAGE_VERSION ||
                                value.field == KRG_GHOST_IMAGE_PARENT || value.field == KRG_GHOST_IMAGE_BASE);
            if (!chain || keep_) put(value);
        }
        end(data);
    }
    void begin(u16 type) {
        if (krg_ghost_begin(writer_, type, nullptr)) refused();
    }
    void put(u16 field, u64 number) {
        if (krg_ghost_put(writer_, field, number)) refused();
    }
    void put(const Value& value) {
        const int err = value.kind <= KRG_GHOST_REF ? krg_ghost_put(writer_, value.field, value.number)
                                                    : krg_ghost_put_bytes(writer_, value.field, value.bytes.data(),
                                                                          static_cast<u32>(value.bytes.size()));
        if (err) refused();
    }
    void end(const Bytes* data) {
        const krg_ghost_piece piece{data ? data->data() : nullptr, data ? data->size() : 0};
        u32 used = 0;
        if (krg_ghost_end(writer_, &piece, data && !data->empty() ? 1 : 0, pieces_, &used)) refused();
        emit(used);
    }
    void take_pages(const Item& item, const Bytes* data) {
        const Run run = run_of(objects_, item);
        if (run.source == KRG_GHOST_SOURCE_HERE && data) {
            return put_pages(item, run.at, run.codec ? Base::unpacked(chain_.front().path, *data, run) : *data);
        }
        if (run.source == KRG_GHOST_SOURCE_PARENT && !keep_) return take_parent(item, run);
        begin(item.type);
        for (const Value& value : item.values) put(value);
        end(nullptr);
    }
    void put_pages(const Item& item, u64 at, const Bytes& data) {
        const auto packed = codec_ == Codec::plain ? std::nullopt : pack(data, static_cast<u64>(codec_));
        begin(KRG_GHOST_PAGES);
        put(KRG_GHOST_PAGES_OWNER, item.owner);
        put(KRG_GHOST_PAGES_AT, at);
        put(KRG_GHOST_PAGES_COUNT, data.size() / page_size);
        if (packed) put(KRG_GHOST_PAGES_CODEC, static_cast<u64>(codec_));
        if (const u64 flags = item.number(KRG_GHOST_PAGES_FLAGS)) put(KRG_GHOST_PAGES_FLAGS, flags);
        end(packed ? &*packed : &data);
    }
    void take_parent(const Item& item, const Run& run) {
        const Owner owner = owner_of(objects_, item.owner);
        Bytes bytes;
        for (u64 done = 0; done < run.count;) {
            bytes.clear();
            const u64 count = std::min(run.count - done, run_pages), at = run.at + done * page_size;
            for (u64 i = 0; i < count; i++) add_page(bytes, owner, at + i * page_size);
            put_pages(item, at, bytes);
            done += count;
        }
    }
    /** From the image behind the newest on; twins are followed in the image that says so. */
    void add_page(Bytes& to, Owner owner, u64 at) {
        size_t base = 0;
        for (unsigned hops = 0; hops < hops_max && base < bases_.size(); hops++) {
            const Run* run = bases_[base]->find(owner, at);
            if (!run) break;
            const u64 offset = at - run->at;
            switch (run->source) {
            case KRG_GHOST_SOURCE_HERE: {
                const Bytes& data = bases_[base]->data(*run);
                const auto from = data.begin() + static_cast<long>(offset);
                to.insert(to.end(), from, from + page_size);
                return;
            }
            case KRG_GHOST_SOURCE_ZERO: to.resize(to.size() + page_size); return;
            case KRG_GHOST_SOURCE_PARENT: base++; continue;
            case KRG_GHOST_SOURCE_TWIN:
                owner = run->twin;
                at = run->twin_at + offset;
                continue;
            default: break;
            }
            break;
        }
        throw Error(Exit::failed,
                    fmt::format("{}: the page at {:#x} is in none of the images it adds to", chain_.front().path, at),
                    use_earlier);
    }

    std::vector<Link> chain_;
    Codec codec_;
    bool keep_;  // the image stays itself: its number, its place in a chain
    std::vector<std::unique_ptr<Base>> bases_;
    Out out_;
    std::map<u64, Owner> objects_;
    std::unique_ptr<u64[]> memory_;
    krg_ghost_writer* writer_ = nullptr;
    krg_ghost_piece pieces_[KRG_GHOST_PIECES_MAX + 2] = {};
};

}  // namespace

Summary rewrite(const std::string& path, int fd, Codec codec, bool keep) { return Rewriter(path, fd, codec, keep).run(); }

}  // namespace krg::image
