// SPDX-License-Identifier: GPL-2.0
//
// Fuzz target: everything kernel/wire.c reads from another machine. The first byte of an input chooses the format, the rest
// is what arrived. A decoder must reject, or accept something that its own encoder writes back unchanged and that keeps the
// promises callers rely on. The same wire.c is in the module.
#include "include/kerrighed/wire.h"

#include <cstdlib>
#include <cstring>

namespace {

void require(bool fact) {
    if (!fact) std::abort();
}

bool ends(const char* text, size_t size) { return std::memchr(text, 0, size) != nullptr; }

void message(const uint8_t* data, size_t size) {
    krg_wire_msg m{}, again{};
    if (krg_wire_get(data, size, &m) != KRG_WIRE_OK) return;
    require(size >= sizeof(krg_wire_hdr));
    require(m.length <= KRG_WIRE_PAYLOAD_MAX && m.type != KRG_MSG_NONE && m.type <= KRG_MSG_TYPE_MAX);
    require(!(m.flags & ~KRG_WIRE_F_ALL) && m.status < 4096);
    krg_wire_hdr out;
    krg_wire_put(&m, &out);
    require(std::memcmp(&out, data, sizeof(out)) == 0);
    require(krg_wire_get(&out, sizeof(out), &again) == KRG_WIRE_OK);
}

void handshake(const uint8_t* data, size_t size) {
    krg_hs hs{};
    if (krg_hs_get(data, size, &hs) != KRG_WIRE_OK) return;
    require(size == KRG_HS_SIZE && hs.class_ < KRG_CLASS_NR && hs.node && hs.to && hs.incarnation && hs.attempt);
    require(ends(hs.host, sizeof(hs.host)));
    krg_hs_wire out;
    krg_hs_put(&hs, &out);
    require(std::memcmp(&out, data, sizeof(out)) == 0);
}

void hello(const uint8_t* data, size_t size) {
    krg_hello h{}, again{};
    const int verdict = krg_hello_get(data, size, &h);
    if (verdict != KRG_WIRE_OK && verdict != KRG_WIRE_BAD_VERSION) return;
    require((h.version == KRG_WIRE_VERSION) == (verdict == KRG_WIRE_OK));
    require(size >= KRG_HELLO_SIZE && h.node && h.incarnation);
    require(krg_wire_name_valid(h.cluster, sizeof(h.cluster)) && ends(h.cluster, sizeof(h.cluster)) &&
            ends(h.host, sizeof(h.host)));
    krg_hello_wire out;
    krg_hello_put(&h, &out);
    require(krg_hello_get(&out, sizeof(out), &again) == verdict);
    require(again.node == h.node && again.incarnation == h.incarnation && again.max_node == h.max_node &&
            std::memcmp(again.proof, h.proof, sizeof(h.proof)) == 0 && std::strcmp(again.cluster, h.cluster) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    switch (data[0] % 3) {
    case 0: message(data + 1, size - 1); break;
    case 1: handshake(data + 1, size - 1); break;
    default: hello(data + 1, size - 1); break;
    }
    return 0;
}
