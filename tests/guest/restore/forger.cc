// SPDX-License-Identifier: GPL-2.0
//
// Damages images. Flipped, cut and spliced ones are what a disk does; forged ones are what somebody does who knows the format:
// their CRCs are right, so that every check behind the CRCs is reached.
#include <cstring>
#include <vector>

#include "image.hh"

namespace krg::probe {
namespace {

using guest::Random;

std::uint64_t load(const std::string& image, std::size_t at, std::size_t size) {
    std::uint64_t value = 0;
    std::memcpy(&value, image.data() + at, size);
    return value;
}

void store(std::string& image, std::size_t at, std::uint64_t value, std::size_t size) {
    std::memcpy(image.data() + at, &value, size);
}

struct Place {
    std::size_t record, length;  // of a record's head; of its fields
    std::size_t value;           // of an eight-byte value
};

/// Records that the kernel's part of restore builds from, rather than the format's reader.
bool is_built_from(std::uint64_t type) {
    switch (type) {
    case KRG_GHOST_SIGACTION:
    case KRG_GHOST_TASK:
    case KRG_GHOST_THREAD:
    case KRG_GHOST_REGISTERS:
    case KRG_GHOST_RESTART:
    case KRG_GHOST_MM:
    case KRG_GHOST_MEMORY:
    case KRG_GHOST_VMA: return true;
    default: return false;
    }
}

/// Every eight-byte value of every record, or of those.
std::vector<Place> places_of(const std::string& image, bool built_from_only) {
    std::vector<Place> places;
    for (std::size_t at = KRG_GHOST_PROLOGUE; at + KRG_GHOST_HEAD <= image.size();) {
        const std::size_t length = load(image, at + 16, 4), data = load(image, at + 20, 4);
        for (std::size_t field = at + KRG_GHOST_HEAD; field < at + KRG_GHOST_HEAD + length;) {
            const std::size_t size = load(image, field + 4, 4);
            if (size == 8 && (!built_from_only || is_built_from(load(image, at, 2)))) places.push_back({at, length, field + 8});
            field += 8 + (size + 7) / 8 * 8;
        }
        at += KRG_GHOST_HEAD + length + (data + 7) / 8 * 8;
    }
    return places;
}

std::uint64_t tempting(Random& random, std::uint64_t was) {
    static constexpr std::uint64_t values[] = {0,
                                               1,
                                               ~std::uint64_t{0},
                                               0x7ffffffff000,
                                               0x800000000000,
                                               0xffffffff81000000,
                                               0xffffffffff600000,
                                               0x7fffffffffffffff,
                                               0x8000000000000000,
                                               0x1000,
                                               0xfffffffffffff000,
                                               0x10000000,
                                               0x20000000};
    switch (random.below(6)) {
    case 0: return was + 4096;
    case 1: return was - 4096;
    case 2: return was ^ (std::uint64_t{1} << random.below(64));
    case 3: return was + random.below(16) - 8;
    case 4: return random.below(200);
    default: return values[random.below(sizeof values / sizeof *values)];
    }
}

void forge(std::string& image, Random& random) {
    const auto places = places_of(image, random.chance(70));
    const std::uint32_t seed = krg_ghost_crc32c(0, image.data(), KRG_GHOST_PROLOGUE - 4);
    for (std::uint64_t n = random.chance(70) ? 1 : 2 + random.below(2); n > 0; n--) {
        const Place& place = places[random.below(places.size())];
        store(image, place.value, tempting(random, load(image, place.value, 8)), 8);
        const char* head = image.data() + place.record;
        const std::uint32_t crc = krg_ghost_crc32c(krg_ghost_crc32c(seed, head, KRG_GHOST_HEAD - 4), head + KRG_GHOST_HEAD,
                                                   place.length);
        store(image, place.record + KRG_GHOST_HEAD - 4, crc, 4);
    }
}

void flip(char& byte, std::uint64_t bit) { byte = static_cast<char>(static_cast<unsigned char>(byte) ^ 1u << bit); }

}  // namespace

std::string damaged(std::string image, Damage damage, Random& random) {
    switch (damage) {
    case Damage::flip:
        for (std::uint64_t n = 1 + random.below(8); n > 0; n--) flip(image[random.below(image.size())], random.below(8));
        break;
    case Damage::truncate: image.resize(random.below(image.size())); break;
    case Damage::splice: {
        const std::size_t length = 1 + random.below(image.size() / 4), from = random.below(image.size() - length);
        image.replace(random.below(image.size() - length), length, image.substr(from, length));
        break;
    }
    case Damage::forge: forge(image, random); break;
    }
    return image;
}

}  // namespace krg::probe
