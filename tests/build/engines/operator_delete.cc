// SPDX-License-Identifier: GPL-2.0
void krg_drop(int* p) { delete p; }
