// SPDX-License-Identifier: GPL-2.0
extern "C" int krg_seed();
struct Table {
    int first;
    Table() : first(krg_seed()) {}
};
Table table;
