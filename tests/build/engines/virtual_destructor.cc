// SPDX-License-Identifier: GPL-2.0
struct Base {
    virtual ~Base();
};
Base::~Base() = default;
