// SPDX-License-Identifier: GPL-2.0
extern "C" void krg_gone();
struct Guard {
    ~Guard() { krg_gone(); }
};
Guard guard;
