// SPDX-License-Identifier: GPL-2.0
//
// Random operations of several nodes on the engine and on the model, step by step: what they return, what getattr says of
// what was touched, what readers of directories meet while others change them. In between the whole disk is judged
// (fsck) and compared. A failure names the seed and the step; KRG_NAMES_SEED=N runs that seed alone, KRG_NAMES_SEEDS=N so
// many, KRG_NAMES_STEPS=N so long.
#include "tests/names/disk.hh"
#include "tests/names/fsck.hh"
#include "tests/names/model.hh"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
#include <sys/stat.h>
#include <vector>

namespace krg::test {
namespace {

constexpr u32 kinds[] = {S_IFREG, S_IFREG, S_IFREG, S_IFLNK, S_IFDIR, S_IFIFO, S_IFCHR, S_IFSOCK, S_IFBLK};

/// Someone who reads a directory a few names at a time.
struct Reader {
    u64 dir = 0, cookie = 0;
    std::set<std::string> stay;  // there since the reader began
    std::set<std::string> met;
};

class Run {
public:
    Run(u64 seed, u32 steps) : random_(seed), steps_(steps) {
        // Few names and directories make collisions, many make large directories.
        names_ = pick(3) == 0 ? 400 : 12;
        dirs_most_ = 2 + pick(12);
        nodes_ = 1 + pick(4);
        disk_.thorough = false;
        EXPECT_EQ(node(1).init_root(), 0);
    }

    void play() {
        for (step_ = 0; step_ < steps_ && !testing::Test::HasFailure(); step_++) {
            disk_.thorough = chance(4);
            one();
            if (chance(97) || step_ + 1 == steps_) compare();
        }
        disk_.thorough = false;
        if (!testing::Test::HasFailure()) end();
    }
    [[nodiscard]] u32 step() const { return step_; }

private:
    u32 pick(u32 below) { return static_cast<u32>(random_() % below); }
    bool chance(u32 one_in) { return pick(one_in) == 0; }
    Node node(u32 self) { return Node(disk_, self); }
    Node any_node() { return node(1 + pick(nodes_)); }

    u64 pick_ino(bool want_dir) {
        std::vector<u64> some;
        for (const auto& [ino, i] : model_.inodes)
            if (i.is_dir() == want_dir) some.push_back(ino);
        if (chance(50) && !gone_.empty()) return gone_[pick(static_cast<u32>(gone_.size()))];
        if (some.empty() || chance(50)) return KRG_NAMES_ROOT;
        return some[pick(static_cast<u32>(some.size()))];
    }
    u64 pick_dir() { return chance(3) ? KRG_NAMES_ROOT : pick_ino(!chance(40)); }
    /// Often what an operation was about just now.
    u64 pick_any() { return last_ && chance(3) ? last_ : pick_ino(chance(3)); }
    std::string pick_name() {
        const u32 n = pick(names_);
        // The length follows from the number; some are the longest there are.
        return fmt::format("{:x<{}}", n, n % 17 == 0 ? 255 : 1 + n * 7 % 40);
    }
    /// A name that is likely to be there.
    std::string pick_old_name(u64 dir) {
        const ModelInode* d = model_.find(dir);
        if (!d || d->names.empty() || chance(4)) return pick_name();
        auto it = d->names.begin();
        std::advance(it, pick(static_cast<u32>(d->names.size())));
        return it->first;
    }

    /// A directory in @dir; else any name.
    std::string pick_subdir(u64 dir) {
        const ModelInode* d = model_.find(dir);
        std::vector<std::string> some;
        if (d && d->is_dir())
            for (const auto& [name, ino] : d->names)
                if (model_.find(ino)->is_dir()) some.push_back(name);
        return some.empty() ? pick_old_name(dir) : some[pick(static_cast<u32>(some.size()))];
    }

    void one() {
        switch (pick(20)) {
        case 0:
        case 1:
        case 2:
        case 3: return create();
        case 4: return link();
        case 5:
        case 6: return unlink(false);
        case 7: return unlink(true);
        case 8:
        case 9:
        case 10:
        case 11: return rename();
        case 12: return read_on();
        case 13: return xattr();
        case 14: return use();
        case 15: return reap();
        case 16: return tmpfile();
        case 17: return append();
        case 18: return setattr();
        default: return lookup();
        }
    }

    void fresh(u64 ino) { EXPECT_TRUE(all_.insert(ino).second) << "number " << ino << " came back"; }

    void create() {
        const u64 dir = pick_dir();
        const std::string name = pick_name();
        u32 kind = kinds[pick(std::size(kinds))];
        if (kind == S_IFDIR && dirs_ >= dirs_most_) kind = S_IFREG;
        krg_names_attr attr = wanted(kind | pick(07777));
        attr.rdev_minor = pick(1000);
        const std::string target = kind == S_IFLNK ? std::string(1 + pick(chance(5) ? 3840 : 90), 't') : "";
        const u64 now = disk_.clock;
        const int expected = model_.may_create(dir, name, attr.mode);
        ASSERT_EQ(any_node().create(dir, name, attr, target), expected);
        if (expected) return;
        fresh(attr.ino);
        model_.create(dir, name, attr, target, now);
        dirs_ += kind == S_IFDIR;
        check(attr.ino);
        check(dir);
    }

    void tmpfile() {
        krg_names_attr attr = wanted(S_IFREG | 0600);
        Node n = any_node();
        const u64 now = disk_.clock;
        ASSERT_EQ(n.tmpfile(attr), 0);
        fresh(attr.ino);
        model_.tmpfile(attr, n.self(), now);
        check(attr.ino);
    }

    void link() {
        const u64 ino = pick_any(), dir = pick_dir();
        const std::string name = pick_name();
        Node n = any_node();
        const u64 now = disk_.clock;
        const int expected = model_.link(ino, dir, name, n.self(), now);
        ASSERT_EQ(n.link(ino, dir, name), expected);
        check(ino);
        check(dir);
    }

    void left(u64 dir, const std::string& name) {
        for (Reader& r : readers_)
            if (r.dir == dir) r.stay.erase(name), r.met.erase(name);
    }

    void unlink(bool directory) {
        const u64 dir = pick_dir();
        const std::string name = pick_old_name(dir);
        Node n = any_node();
        u64 expected_ino = 0, ino = 0;
        const int expected = model_.unlink(dir, name, directory, n.self(), disk_.clock, expected_ino);
        ASSERT_EQ(directory ? n.rmdir(dir, name, ino) : n.unlink(dir, name, ino), expected);
        check(dir);
        if (expected) return;
        ASSERT_EQ(ino, expected_ino);
        dirs_ -= directory;
        left(dir, name);
        check(ino);
    }

    void rename() {
        const u64 dir = pick_dir(), to = chance(2) ? dir : pick_dir();
        const bool dirs = chance(3);
        const std::string name = dirs ? pick_subdir(dir) : pick_old_name(dir);
        const std::string new_name = dirs ? pick_subdir(to) : chance(2) ? pick_old_name(to) : pick_name();
        const u32 flags = pick(8) < 5 ? pick(3) : pick(4);
        Node n = any_node();
        u64 expected_ino = 0, replaced = 0;
        const u64 before = model_.inodes.count(dir) && model_.find(dir)->names.count(name) ? model_.find(dir)->names.at(name)
                                                                                           : 0;
        const int expected = model_.rename(dir, name, to, new_name, flags, n.self(), disk_.clock, expected_ino);
        ASSERT_EQ(n.rename(dir, name, to, new_name, flags, replaced), expected);
        check(dir);
        check(to);
        check(before);
        if (expected) return;
        ASSERT_EQ(replaced, expected_ino);
        check(replaced);
        if (replaced && S_ISDIR(model_.find(replaced)->mode)) dirs_--;
        if (!model_.find(dir)->names.count(name)) left(dir, name);
    }

    void read_on() {
        if (readers_.size() < 3 && chance(2)) {
            Reader fresh_reader;
            fresh_reader.dir = pick_ino(true);
            if (const ModelInode* d = model_.find(fresh_reader.dir))
                for (const auto& [name, ino] : d->names) fresh_reader.stay.insert(name);
            readers_.push_back(fresh_reader);
        }
        if (readers_.empty()) return;
        const u32 which = pick(static_cast<u32>(readers_.size()));
        if (read_some(readers_[which], 1 + pick(20))) return;
        readers_.erase(readers_.begin() + which);
    }

    /// False: it is at the end.
    bool read_some(Reader& r, u32 room) {
        std::vector<krg_names_entry> entry(room);
        const int n = any_node().readdir(r.dir, r.cookie, entry.data(), room);
        const ModelInode* d = model_.find(r.dir);
        EXPECT_LE(disk_.last_lent, 40u);
        if (!d || !d->is_dir()) {
            EXPECT_EQ(n, d ? -ENOTDIR : -ESTALE);
            return false;
        }
        EXPECT_GE(n, 0);
        for (int i = 0; i < n; i++) {
            const std::string name(entry[i].name, entry[i].len);
            const auto there = d->names.find(name);
            if (there == d->names.end() || there->second != entry[i].ino) {
                ADD_FAILURE() << "reader met " << name << ", which is not there";
                return false;
            }
            EXPECT_EQ(entry[i].type, model_.find(entry[i].ino)->mode >> 12);
            EXPECT_TRUE(r.met.insert(name).second) << "reader met " << name << " twice";
            EXPECT_LT(entry[i].next, 1ull << 62);
        }
        if (n > 0) {
            EXPECT_EQ(r.cookie, entry[n - 1].next);
            return true;
        }
        for (const std::string& name : r.stay) EXPECT_TRUE(r.met.count(name)) << "reader did not meet " << name;
        return false;
    }

    void xattr() {
        const u64 ino = pick_any();
        const std::string name = fmt::format("user.{:a<{}}", pick(6), 1 + pick(9)), value(pick(chance(3) ? 3900 : 60), 'v');
        const u32 flags = pick(3);
        const bool removes = chance(4);
        const u64 now = disk_.clock;
        const int expected = model_.setxattr(ino, name, removes ? nullptr : &value, flags, now);
        Node n = any_node();
        ASSERT_EQ(removes ? n.removexattr(ino, name) : n.setxattr(ino, name, value, flags), expected);
        check(ino);
    }

    void use() {
        const u64 ino = pick_any();
        Node n = any_node();
        const bool on = chance(2);
        const int expected = model_.use(ino, on, n.self());
        ASSERT_EQ(n.use(ino, on), expected);
    }

    /// Any node finishes what it finds in any list, or stops on the way.
    void reap() {
        Node n = any_node();
        const u32 list = 1 + pick(nodes_);
        u64 live[2] = {random_() & random_(), ~0ull};
        if (chance(3)) live[0] = 0;
        u64 ino = 0;
        std::set<u64> seen;
        for (u32 at = 0; n.orphan(list, at, ino) == 1; at++) {
            if (!ino) continue;
            const ModelInode* i = model_.find(ino);
            ASSERT_TRUE(i && !i->nlink && i->orphan_of == list) << ino;
            ASSERT_TRUE(seen.insert(ino).second);
            if (!chance(2)) continue;
            const bool used = std::any_of(i->users.begin(), i->users.end(), [&](u32 u) { return live[0] >> u & 1; });
            ASSERT_EQ(n.unused(ino, live), !used);
            if (used || chance(4)) continue;
            disk_.punch(ino);
            if (chance(4)) continue;
            ASSERT_EQ(n.free(list, ino), 0);
            model_.free(ino);
            gone_.push_back(ino);
            if (!chance(4)) continue;
            ASSERT_EQ(n.free(list, ino), 0) << "the second time";
        }
    }

    void append() {
        const u64 ino = pick_any(), len = pick(3) * 1000;
        u64 expected_offset = 0, offset = 0;
        const int expected = model_.append(ino, len, expected_offset);
        ASSERT_EQ(any_node().append(ino, len, offset), expected);
        if (expected) return;
        ASSERT_EQ(offset, expected_offset);
    }

    void setattr() {
        const u64 ino = pick_any();
        krg_names_attr attr = wanted(pick(0200000));
        attr.uid = pick(9);
        attr.gid = pick(9);
        attr.size = pick(10000);
        attr.replicas = 1 + pick(4);
        attr.mtime.sec = attr.ctime.sec = pick(1000000);
        const u32 mask = chance(2) ? 1u << pick(9) : pick(512);
        const int expected = model_.setattr(ino, mask, attr);
        ASSERT_EQ(any_node().setattr(ino, mask, attr), expected);
        check(ino);
    }

    void lookup() {
        const u64 dir = pick_dir();
        const std::string name = pick_old_name(dir);
        u64 expected_ino = 0, ino = 0;
        u8 type = 0;
        const int expected = model_.lookup(dir, name, expected_ino);
        ASSERT_EQ(any_node().lookup(dir, name, ino, type), expected);
        if (expected) return;
        ASSERT_EQ(ino, expected_ino);
        ASSERT_EQ(type, model_.find(ino)->mode >> 12);
    }

    /// What the engine says of an inode is what the model says.
    void check(u64 ino) {
        last_ = ino;
        krg_names_attr a{};
        const ModelInode* i = model_.find(ino);
        ASSERT_EQ(any_node().getattr(ino, a), i ? 0 : -ESTALE);
        if (!i) return;
        const std::vector<u64> says{a.ino,
                                    a.mode,
                                    a.uid,
                                    a.gid,
                                    a.nlink,
                                    a.size,
                                    a.entries,
                                    i->is_dir() ? a.parent : 0,
                                    a.replicas,
                                    a.rdev_minor,
                                    static_cast<u64>(a.mtime.sec),
                                    static_cast<u64>(a.ctime.sec)};
        const std::vector<u64> expected{i->ino,          i->mode,   i->uid,      i->gid,  i->nlink, i->size,
                                        i->names.size(), i->parent, i->replicas, i->rdev, i->mtime, i->ctime};
        ASSERT_EQ(says, expected) << "inode " << ino;
    }

    void compare() {
        const bool thorough = std::exchange(disk_.thorough, false);
        ASSERT_THAT(fsck(disk_), testing::IsEmpty());
        u64 used = 0, inodes = 0;
        for (u32 n = 1; n <= nodes_; n++) {
            ASSERT_EQ(node(n).count(n, inodes), 0);
            used += inodes;
        }
        ASSERT_EQ(used + 1, model_.inodes.size());
        for (const auto& [ino, i] : model_.inodes) {
            check(ino);
            compare_contents(i);
        }
        for (const u64 ino : gone_) check(ino);
        disk_.thorough = thorough;
    }

    void compare_contents(const ModelInode& i) {
        std::string text, value;
        if (S_ISLNK(i.mode)) {
            ASSERT_EQ(any_node().readlink(i.ino, text), static_cast<int>(i.target.size()));
            ASSERT_EQ(text, i.target);
        }
        ASSERT_GE(any_node().listxattr(i.ino, text), 0);
        size_t bytes = 0;
        for (const auto& [name, expected] : i.xattrs) {
            ASSERT_EQ(any_node().getxattr(i.ino, name, value), static_cast<int>(expected.size()));
            ASSERT_EQ(value, expected);
            bytes += name.size() + 1;
        }
        ASSERT_EQ(text.size(), bytes);
        if (!i.is_dir()) return;
        Reader r;
        r.dir = i.ino;
        for (const auto& [name, ino] : i.names) r.stay.insert(name);
        while (read_some(r, 50)) {}
        ASSERT_EQ(r.met, r.stay);
    }

    /// Everything is removed and freed: nothing is left but the root and generations.
    void end() {
        for (bool more = true; more && !testing::Test::HasFailure();) {
            more = false;
            const auto inodes = model_.inodes;
            for (const auto& [dir, i] : inodes)
                for (const auto& [name, child] : i.names) {
                    u64 ino;
                    const bool directory = model_.find(child)->is_dir();
                    if (directory && !model_.find(child)->names.empty()) continue;
                    ASSERT_EQ(model_.unlink(dir, name, directory, 1, disk_.clock, ino), 0);
                    ASSERT_EQ(directory ? node(1).rmdir(dir, name, ino) : node(1).unlink(dir, name, ino), 0);
                    more = true;
                }
        }
        for (u32 list = 1; list <= nodes_; list++) {
            u64 ino = 0;
            for (u32 at = 0; node(1).orphan(list, at, ino) == 1; at++) {
                if (!ino) continue;
                disk_.punch(ino);
                ASSERT_EQ(node(1).free(list, ino), 0);
                model_.free(ino);
            }
        }
        compare();
        ASSERT_EQ(model_.inodes.size(), 1u);
    }

    std::mt19937_64 random_;
    u64 last_ = 0;
    u32 steps_, step_ = 0, names_ = 0, dirs_most_ = 0, nodes_ = 1, dirs_ = 0;
    Disk disk_;
    Model model_;
    std::vector<Reader> readers_;
    std::set<u64> all_;
    std::vector<u64> gone_;
};

u64 setting(const char* name, u64 otherwise) {
    const char* text = std::getenv(name);
    return text ? std::strtoull(text, nullptr, 0) : otherwise;
}

void run_seed(u64 seed, u32 steps) {
    Run run(seed, steps);
    run.play();
    if (testing::Test::HasFailure())
        FAIL() << "seed " << seed << ", step " << run.step() << ": repeat with KRG_NAMES_SEED=" << seed;
}

TEST(NamesModel, random_operations_agree_with_the_model) {
    const u32 steps = static_cast<u32>(setting("KRG_NAMES_STEPS", 3000));
    if (std::getenv("KRG_NAMES_SEED")) return run_seed(setting("KRG_NAMES_SEED", 0), steps);
    const u64 seeds = setting("KRG_NAMES_SEEDS", 24);
    for (u64 seed = 1; seed <= seeds && !HasFailure(); seed++) run_seed(seed, steps);
}

}  // namespace
}  // namespace krg::test
