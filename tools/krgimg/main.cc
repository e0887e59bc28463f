// SPDX-License-Identifier: GPL-2.0
// krgimg: what is in a ghost image, is it whole, and what differs between two.
#include <iostream>
#include <new>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/krgadm/version.hh"
#include "tools/krgimg/commands.hh"

namespace {

using krg::Error;
using krg::Exit;

int complain(bool json, const Error& error) {
    if (json) {
        nlohmann::ordered_json text = {{"output_version", {{"command", "krgimg error"}, {"major", 1}, {"minor", 0}}}};
        text["error"] = {{"code", static_cast<int>(error.code())}, {"message", error.what()}, {"action", error.action()}};
        std::cerr << text.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
    } else {
        std::cerr << "krgimg: " << error.what() << '\n';
        if (!error.action().empty()) std::cerr << "  try: " << error.action() << '\n';
    }
    return static_cast<int>(error.code());
}

}  // namespace

int main(int argc, char** argv) {
    krg::image::Print print{false, false, std::cout};
    std::vector<std::string> files;
    std::string left, right, only;
    CLI::App app("Look into ghost images: checkpoints, manifests, recorded migration streams.", "krgimg");
    app.set_version_flag("--version", std::string("krgimg ") + krg::version);
    app.add_flag("-j,--json", print.json, "JSON on standard output");
    app.add_flag("-p,--pretty", print.pretty, "indented JSON");
    app.require_subcommand(1);
    app.fallthrough();
    app.footer("See krgimg(1).");
    CLI::App* show = app.add_subcommand("show", "every record and field");
    show->add_option("FILE", files, "images")->required();
    show->add_option("-t,--type", only, "only records of this type, for example vma");
    CLI::App* check = app.add_subcommand("check", "read to the end and check everything; of a manifest also its members");
    check->add_option("FILE", files, "images or manifests")->required();
    CLI::App* diff = app.add_subcommand("diff", "what differs, field by field, and pages by what is in them");
    diff->add_option("LEFT", left, "an image")->required();
    diff->add_option("RIGHT", right, "another")->required();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::usage);
    }
    try {
        Exit exit = Exit::done;
        if (show->parsed()) exit = krg::image::show(print, files, only);
        if (check->parsed()) exit = krg::image::check(print, files);
        if (diff->parsed()) exit = krg::image::diff(print, left, right);
        if (!print.out.flush()) throw Error(Exit::failed, "cannot write to standard output", "is there room where it goes?");
        return static_cast<int>(exit);
    } catch (const Error& error) {
        return complain(print.json, error);
    } catch (const std::bad_alloc&) {
        return complain(print.json, Error(Exit::failed, "out of memory", "use a machine with more"));
    } catch (const std::exception& error) {
        return complain(print.json, Error(Exit::failed, error.what()));
    }
}
