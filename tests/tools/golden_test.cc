// SPDX-License-Identifier: GPL-2.0
// Output tests: each golden/*.case names a recording (messages/*.msgs), perhaps the answers of /proc/kerrighed and of files
// (`files NAME`: messages/NAME, see fill()), and holds commands with the output and exit code
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

/** Gives @machine files: each is a line `== NAME`, or `== NAME error NUMBER`, and the lines below it. */
void fill(FakeMachine& machine, const std::string& text) {
    FileText* at = nullptr;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.rfind("# ", 0) == 0) continue;
        if (line.rfind("== ", 0) == 0) {
            const auto error = line.find(" error ");
            at = &machine.files[line.substr(3, error == std::string::npos ? error : error - 3)];
            if (error != std::string::npos) at->error = std::stoi(line.substr(error + 7));
        } else if (at != nullptr) {
            at->text += at->text.empty() ? line : "\n" + line;
        }
    }
}

/** The case as it would read if what krgadm prints today is right. */
std::string rendered(const std::string& text) {
    std::string result;
    std::string messages, files;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.rfind("messages ", 0) == 0) messages = line.substr(9);
        if (line.rfind("files ", 0) == 0) files = read(folder / "messages" / line.substr(6));
        if (line.rfind('#', 0) == 0 || line.rfind("messages ", 0) == 0 || line.rfind("files ", 0) == 0) result += line + "\n";
        if (line.rfind("$ krgadm", 0) != 0) continue;
        CliWorld world(messages == "none" ? "" : read(folder / "messages" / messages));
        fill(world.machine, files);
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
