// SPDX-License-Identifier: GPL-2.0
struct Interface {
    Interface();
    virtual int run() = 0;
    int value;
};
int krg_call(Interface* interface) { return interface->run(); }
Interface::Interface() { value = krg_call(this); }
