// SPDX-License-Identifier: GPL-2.0
// What krgimg says of images that were made here, whole and damaged.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/ghost/image.hh"
#include "tools/krgimg/commands.hh"

namespace krg::ghost::testing {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class Krgimg : public ::testing::Test {
protected:
    Krgimg() {
        std::string name = (fs::temp_directory_path() / "krgimg.XXXXXX").string();
        folder_ = mkdtemp(name.data());
    }
    ~Krgimg() override { fs::remove_all(folder_); }
    std::string file(const std::string& name, const Bytes& bytes) {
        const fs::path path = folder_ / name;
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
        return path.string();
    }
    image::Print print{false, false, out};
    std::ostringstream out;

private:
    fs::path folder_;
};

TEST_F(Krgimg, checks_and_shows_a_whole_image) {
    const std::string path = file("a", sample_image());
    EXPECT_EQ(image::check(print, {path}), Exit::done);
    EXPECT_THAT(out.str(), HasSubstr(": ok, 69 records, 1 tasks"));
    EXPECT_EQ(image::show(print, {path}, "task"), Exit::done);
    EXPECT_THAT(out.str(), HasSubstr("task @23 pid=100 group=@2"));
}

TEST_F(Krgimg, says_where_an_image_is_damaged_and_what_to_do) {
    Bytes bytes = sample_image();
    bytes[spans(bytes)[9].at + 40] ^= 1;
    try {
        image::check(print, {file("a", bytes)});
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), Exit::failed);
        EXPECT_THAT(error.what(), HasSubstr("record 9 (sysv_queue): the CRC is wrong"));
        EXPECT_NE(error.action(), "");
    }
}

TEST_F(Krgimg, diff_names_fields_and_pages_and_not_numbers_of_objects) {
    const std::string a = file("a", sample_image(1, 7)), b = file("b", sample_image(2, 8)), c = file("c", sample_image(3, 7));
    EXPECT_EQ(image::diff(print, a, c), Exit::done);
    EXPECT_EQ(out.str(), "");
    EXPECT_EQ(image::diff(print, a, b), Exit::failed);
    EXPECT_THAT(out.str(), HasSubstr("mm 0x9 / vma 0x0 0x1000 to 0x3000: 2 pages -> other contents"));
    EXPECT_THAT(out.str(), HasSubstr("pipe_data no. 1 data:"));
}

TEST_F(Krgimg, a_manifest_is_good_only_with_its_members) {
    const Bytes member = sample_image(77);
    const auto manifest = [&](u64 number) {
        Maker maker;
        add_image(maker, {{KRG_GHOST_IMAGE_PURPOSE, 1}});
        maker.add(KRG_GHOST_MEMBER, {{1, 1}, {2, "node1"}, {3, number}, {4, member.size()}, {5, spans(member).size() - 1}});
        return maker.close();
    };
    EXPECT_THROW(image::check(print, {file("manifest", manifest(77))}), Error);
    file("node1", member);
    EXPECT_EQ(image::check(print, {file("manifest", manifest(77))}), Exit::done);
    EXPECT_THROW(image::check(print, {file("manifest", manifest(78))}), Error);
}

}  // namespace
}  // namespace krg::ghost::testing
