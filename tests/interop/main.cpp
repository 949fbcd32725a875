// hufu-interop: other people's clients play one suite against a real RocketMQ and against our broker.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <stdexcept>

#include <CLI/CLI.hpp>

#include <hufu/test_support/child.hpp>

#include "go_client.hpp"
#include "java_client.hpp"
#include "performance.hpp"

namespace hufu::interop {
namespace {

struct Options {
    bool json = false;
    bool list = false;
    std::string against = "both";
    std::vector<std::string> only;
    std::vector<std::string> clients;
    int threads = 8;
    std::string work;
};

std::string folder_of_this_program() { return std::filesystem::read_symlink("/proc/self/exe").parent_path(); }

bool among(const std::vector<std::string>& chosen, const std::string& name) {
    return chosen.empty() || std::find(chosen.begin(), chosen.end(), name) != chosen.end();
}

std::vector<Role> java_roles(const Options& options, const std::string& work) {
    std::vector<Role> roles;
    for (const JavaClient& client : java_clients) {
        if (!among(options.clients, client.name)) continue;
        std::fprintf(stderr, "interop: compiling the suite for %s\n", client.name);
        const std::string classes = compile(client, work);
        Role role{.client = client.name, .cases = {}, .words = {}};
        for (std::string& name : cases_of(client, classes, work)) {
            if (among(options.only, name)) role.cases.push_back(std::move(name));
        }
        role.words = [&client, classes, threads = options.threads](const std::string& folder,
                                                                   const std::string& name_server) {
            return player_words(client, classes, folder, name_server, threads);
        };
        roles.push_back(std::move(role));
    }
    return roles;
}

Role go_role(const Options& options, const std::string& work) {
    std::fprintf(stderr, "interop: building the suite for %s\n", go_client);
    const std::string player = build_go_player(work);
    Role role{.client = go_client, .cases = {}, .words = {}};
    for (std::string& name : go_cases(player, work)) {
        if (among(options.only, name)) role.cases.push_back(std::move(name));
    }
    role.words = [player, threads = options.threads](const std::string& folder, const std::string& name_server) {
        // It keeps offsets of broadcasts at home.
        return std::vector<std::string>{"/usr/bin/env", "HOME=" + folder, player,
                                        go_client,      name_server,      std::to_string(threads)};
    };
    return role;
}

int play(const Options& options) {
    const test_support::PrivateFolder folder{"interop", options.work};
    const std::string& work = folder.path();
    std::vector<Role> roles = java_roles(options, work);
    if (among(options.clients, go_client)) roles.push_back(go_role(options, work));
    std::vector<CaseName> order;
    for (const Role& role : roles) {
        for (const std::string& name : role.cases) order.push_back({.client = role.client, .name = name});
    }
    if (order.empty()) throw std::runtime_error{"no client has such a case; --list tells which there are"};
    if (options.list) {
        for (const CaseName& one : order) std::printf("%s %s\n", one.client.c_str(), one.name.c_str());
        return 0;
    }
    std::optional<Outcomes> rocketmq;
    std::optional<Outcomes> hufu;
    const std::string programs = folder_of_this_program();
    if (options.against != "hufu")
        rocketmq = Performance{"rocketmq", start_rocketmq, work + "/rocketmq", programs}.play(roles);
    if (options.against != "rocketmq") hufu = Performance{"hufu", start_hufu, work + "/hufu", programs}.play(roles);
    const Report report{order, rocketmq ? &*rocketmq : nullptr, hufu ? &*hufu : nullptr};
    std::fputs(report.text(false).c_str(), options.json ? stderr : stdout);
    if (options.json) std::printf("%s\n", report.json().c_str());
    return report.equal() ? 0 : 1;
}

}  // namespace
}  // namespace hufu::interop

int main(int count, char** arguments) {
    using namespace hufu::interop;
    // A player that is gone is noticed by its process.
    ::signal(SIGPIPE, SIG_IGN);
    CLI::App app{"Other people's clients play one suite against a real RocketMQ 5.3.3 and against hufu-broker"};
    Options options;
    app.add_flag("--json", options.json, "exactly one JSON object on standard output");
    app.add_flag("--list", options.list, "only tell which cases there are");
    app.add_option("--against", options.against, "which broker")->check(CLI::IsMember({"both", "hufu", "rocketmq"}));
    app.add_option("--only", options.only, "play only these cases")->delimiter(',');
    app.add_option("--client", options.clients, "play only these clients")->delimiter(',');
    app.add_option("--threads", options.threads, "cases at a time in each client")->check(CLI::Range(1, 32));
    app.add_option("--work", options.work, "keep data and transcripts in this folder (default: a private one, removed)");
    CLI11_PARSE(app, count, arguments);
    try {
        return play(options);
    } catch (const std::exception& failed) {
        std::fprintf(stderr, "hufu-interop: %s\n", failed.what());
        return 2;
    }
}
