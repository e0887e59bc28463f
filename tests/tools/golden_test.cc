// SPDX-License-Identifier: GPL-2.0
// Output tests: each golden/*.case names a recording (messages/*.msgs) and holds commands with the output and exit code
// they must have. `KRG_GOLDEN_UPDATE=1 krgadm_golden_test` rewrites the cases; read the difference before committing it.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/tools/cli_world.hh"

namespace krg::test {
namespace {

const std::filesystem::path folder = KRG_TEST_DATA;

std::string read(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

std::vector<std::string> split(const std::string& line) {
    std::istringstream words(line);
    return {std::istream_iterator<std::string>(words), {}};
}

/** The case as it would read if what krgadm prints today is right. */
std::string rendered(const std::string& text) {
    std::string result;
    std::string messages;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.rfind("messages ", 0) == 0) messages = line.substr(9);
        if (line.rfind('#', 0) == 0 || line.rfind("messages ", 0) == 0) result += line + "\n";
        if (line.rfind("$ krgadm", 0) != 0) continue;
        CliWorld world(messages == "none" ? "" : read(folder / "messages" / messages));
        std::vector<std::string> arguments = split(line);
        arguments.erase(arguments.begin(), arguments.begin() + 2);
        const int status = world.run(arguments);
        result += "\n" + line + "\n" + world.out.str();
        std::istringstream errors(world.err.str());
        for (std::string error; std::getline(errors, error);) result += "stderr: " + error + "\n";
        result += "exit " + std::to_string(status) + "\n";
    }
    return result;
}

class Golden : public ::testing::TestWithParam<std::filesystem::path> {};

TEST_P(Golden, prints_what_it_printed_before) {
    const std::string expected = read(GetParam());
    const std::string actual = rendered(expected);
    if (std::getenv("KRG_GOLDEN_UPDATE") != nullptr) {
        std::ofstream(GetParam()) << actual;
        return;
    }
    EXPECT_NE(expected.find("\nexit "), std::string::npos) << "the case has no command";
    EXPECT_EQ(actual, expected);
}

std::vector<std::filesystem::path> cases() {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder / "golden"))
        if (entry.path().extension() == ".case") found.push_back(entry.path());
    std::sort(found.begin(), found.end());
    return found;
}

INSTANTIATE_TEST_SUITE_P(Cases, Golden, ::testing::ValuesIn(cases()), [](const auto& parameter) {
    std::string name = parameter.param.stem().string();
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
});

}  // namespace
}  // namespace krg::test
