// SPDX-License-Identifier: GPL-2.0
// Writes the sample image of the tests to a file, for krgimg and for the corpus of the fuzzer.
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tests/ghost/image.hh"

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: krg-ghost-sample FILE [NUMBER [FILL]]\n");
        return 2;
    }
    const auto number = argc > 2 ? std::strtoull(argv[2], nullptr, 0) : 0x1234;
    const auto fill = argc > 3 ? std::strtoul(argv[3], nullptr, 0) : 7;
    const auto image = krg::ghost::testing::sample_image(number, static_cast<u8>(fill));
    std::ofstream file(argv[1], std::ios::binary);
    file.write(reinterpret_cast<const char*>(image.data()), static_cast<std::streamsize>(image.size()));
    if (file.flush()) return 0;
    std::fprintf(stderr, "krg-ghost-sample: cannot write %s\n", argv[1]);
    return 1;
}
