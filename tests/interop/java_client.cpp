#include "java_client.hpp"

#include <filesystem>

#include <hufu/test_support/java.hpp>
#include <hufu/test_support/process.hpp>

#include "player.hpp"

namespace hufu::interop {
namespace {

using namespace hufu::test_support;

constexpr unsigned heap_mb = 256;

/// The jars one by one: only the compiler's own launcher would understand "FOLDER/*".
std::string jars_of(const JavaClient& client) {
    const std::filesystem::path folder = std::filesystem::path{class_path(client.jars)}.parent_path();
    std::string all;
    for (const auto& entry : std::filesystem::directory_iterator{folder}) {
        if (entry.path().extension() == ".jar") all += (all.empty() ? "" : ":") + entry.path().string();
    }
    return all;
}

/// The JDK's compiler, run as a Java program, so that one JVM is looked for in one place.
std::vector<std::string> compiler_words(const JavaClient& client) {
    return java_words({.jars = client.jars,
                       .main_class = "com.sun.tools.javac.Main",
                       .flags = {"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}});
}

}  // namespace

std::string compile(const JavaClient& client, const std::string& work) {
    const std::string classes = work + "/classes-" + client.name;
    std::filesystem::create_directories(classes);
    std::vector<std::string> words = compiler_words(client);
    words.insert(words.end(), {"-nowarn", "-proc:none", "-cp", jars_of(client), "-d", classes});
    for (const char* folder : {"common", client.sources}) {
        for (const auto& entry :
             std::filesystem::recursive_directory_iterator{std::string{HUFU_INTEROP_SOURCES} + "/java/" + folder}) {
            if (entry.path().extension() == ".java") words.push_back(entry.path());
        }
    }
    run({.arguments = std::move(words), .output = work + "/javac-" + client.name + ".log"});
    return classes;
}

std::vector<std::string> cases_of(const JavaClient& client, const std::string& classes, const std::string& work) {
    return told_cases(java_words({.jars = client.jars,
                                  .main_class = "hufu.interop.Main",
                                  .flags = small_jvm(heap_mb),
                                  .arguments = {"--list"},
                                  .own_classes = classes}),
                      work + "/cases-" + client.name);
}

std::vector<std::string> player_words(const JavaClient& client, const std::string& classes, const std::string& work,
                                      const std::string& name_server, int threads) {
    const std::string home = work + "/home-" + client.name;
    std::filesystem::create_directories(home);
    JavaProgram program{.jars = client.jars,
                        .main_class = "hufu.interop.Main",
                        .flags = small_jvm(heap_mb),
                        .arguments = {client.name, name_server, std::to_string(threads)},
                        .own_classes = classes};
    // Intervals of the clients that no setter reaches, in milliseconds; their logs and stored offsets go home.
    for (const char* flag : {"-Drocketmq.client.rebalance.waitInterval=1000", "-Drocketmq.client.rebalance.minInterval=300",
                             "-Drocketmq.client.rebalance.lockInterval=1000", "-Drocketmq.client.logLevel=WARN"}) {
        program.flags.emplace_back(flag);
    }
    program.flags.push_back("-Duser.home=" + home);
    return java_words(program);
}

}  // namespace hufu::interop
