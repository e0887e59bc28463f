// SPDX-License-Identifier: GPL-2.0
// Key files and derived keys.
#include "tools/lib/key.hh"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tools/lib/error.hh"

namespace krg::test {
namespace {

class KeyFile : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = (std::filesystem::temp_directory_path() / "krg-key-XXXXXX").string();
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        folder = name;
        path = folder + "/key";
    }
    void TearDown() override { std::filesystem::remove_all(folder); }

    void put(const std::string& text, mode_t mode = 0600) {
        std::ofstream(path, std::ios::binary) << text;
        ASSERT_EQ(chmod(path.c_str(), mode), 0);
    }

    std::string refusal() {
        try {
            read_key(path);
        } catch (const Error& error) {
            return error.what();
        }
        return "accepted";
    }

    std::string folder, path;
};

TEST_F(KeyFile, reads_digits_and_raw_bytes) {
    const std::string digits = "00112233445566778899aAbBcCdDeEfF00112233445566778899aabbccddeeff";
    put(digits + "\n");
    const Bytes key = read_key(path);
    ASSERT_EQ(key.size(), key_size);
    EXPECT_EQ(key[1], 0x11);
    EXPECT_EQ(key[31], 0xff);
    put(std::string(reinterpret_cast<const char*>(key.data()), key.size()));
    EXPECT_EQ(read_key(path), key);
}

TEST_F(KeyFile, what_is_created_reads_back_and_is_private) {
    path = folder + "/new/key";
    const Bytes key = create_key(path);
    EXPECT_EQ(read_key(path), key);
    struct stat info {};
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600U);
    EXPECT_NE(create_key(folder + "/other"), key);
    EXPECT_THROW(create_key(path), Error);  // never over an existing key
    EXPECT_EQ(read_key(path), key);
}

TEST_F(KeyFile, refuses_what_others_may_read) {
    put(std::string(64, 'a'), 0640);
    EXPECT_EQ(refusal(), "key file " + path + " can be read or written by others (mode 0640)");
    put(std::string(64, 'a'), 0602);
    EXPECT_NE(refusal(), "accepted");
}

TEST_F(KeyFile, refuses_what_is_no_key) {
    for (const auto& bad : {std::string(), std::string("secret"), std::string(63, 'a'), std::string(65, 'a'),
                            std::string(64, 'g'), std::string(31, 'x'), std::string(500, 'a')}) {
        put(bad);
        EXPECT_EQ(refusal(), path + " is no cluster key (64 hexadecimal digits or 32 bytes)") << bad;
    }
}

TEST_F(KeyFile, says_when_it_is_missing) {
    EXPECT_EQ(refusal(), "cannot read the cluster key " + path + ": No such file or directory");
}

TEST(Derive, agrees_with_an_independent_implementation) {
    Bytes key;
    for (std::uint8_t i = 0; i < key_size; i++) key.push_back(i);
    // python3: hmac.new(key, label + b"\0" + context + b"\0" + bytes([block]), "sha256")
    EXPECT_EQ(to_hex(derive(key, "kerrighed tipc gcm(aes) 1", "blue", 20)), "1503e3e16283639fc9776f0ada48b6b5c1c28bfd");
    EXPECT_EQ(to_hex(derive(key, "x", "", 40)),
              "c378dc0180f15a804023f1b9b2ea794fc039357a9f1a498125b68b3786a1815c97f6a7eb8aed8467");
}

TEST(Derive, labels_and_contexts_do_not_run_into_each_other) {
    const Bytes key(key_size, 1);
    EXPECT_NE(derive(key, "ab", "c", 32), derive(key, "a", "bc", 32));
    EXPECT_NE(derive(key, "a", "", 32), derive(Bytes(key_size, 2), "a", "", 32));
}

}  // namespace
}  // namespace krg::test
