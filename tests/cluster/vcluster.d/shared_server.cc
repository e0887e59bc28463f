// SPDX-License-Identifier: GPL-2.0
#include "shared_server.h"
#include <filesystem>
namespace krg::vcluster {
SharedServer::SharedServer(const std::string& directory) { std::filesystem::create_directories(directory); }
SharedServer::~SharedServer() = default;
}
