// SPDX-License-Identifier: GPL-2.0
// Not now, and not this memory: words of the table.
#include "tools/libkerrighed/internal.hh"

using namespace krg::library;

extern "C" int krg_cr_disable(void) {
    return at_border([] {
        __atomic_add_fetch(&table().disabled, 1, __ATOMIC_SEQ_CST);
        return 0;
    });
}

extern "C" int krg_cr_enable(void) {
    return at_border([] {
        krg_self& self = table();
        std::uint32_t count = __atomic_load_n(&self.disabled, __ATOMIC_SEQ_CST);
        do
            if (!count) throw Failure(EINVAL, "krg_cr_enable without krg_cr_disable");
        while (!__atomic_compare_exchange_n(&self.disabled, &count, count - 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
        return 0;
    });
}

extern "C" int krg_cr_exclude(void* at, size_t length) {
    return at_border([&] {
        const auto where = reinterpret_cast<std::uintptr_t>(at);
        if (!at || !length || where + length < where) throw Failure(EINVAL, "no such region");
        krg_self& self = table();
        const Lock lock;
        for (std::uint32_t i = 0; i < self.count; i++)
            if (self.region[i].at == where) throw Failure(EEXIST, "that region is excluded already");
        if (self.count == KRG_SELF_REGIONS) throw Failure(ENOSPC, "more regions than there can be");
        self.region[self.count] = {where, length};
        // Who reads it in between sees a whole region or none.
        __atomic_store_n(&self.count, self.count + 1, __ATOMIC_SEQ_CST);
        return 0;
    });
}

extern "C" int krg_cr_include(void* at) {
    return at_border([&] {
        krg_self& self = table();
        const Lock lock;
        std::uint32_t i = 0;
        while (i < self.count && self.region[i].at != reinterpret_cast<std::uintptr_t>(at)) i++;
        if (i == self.count) throw Failure(ENOENT, "no region that begins there is excluded");
        // First the place is one of the last region, which may be there twice for a moment; then that is gone.
        const krg_self_region last = self.region[self.count - 1];
        __atomic_store_n(&self.region[i].length, 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&self.region[i].at, last.at, __ATOMIC_SEQ_CST);
        __atomic_store_n(&self.region[i].length, last.length, __ATOMIC_SEQ_CST);
        __atomic_store_n(&self.count, self.count - 1, __ATOMIC_SEQ_CST);
        return 0;
    });
}
