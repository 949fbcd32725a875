#include <hufu/test_support/java.hpp>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace hufu::test_support {
namespace {

std::string find_java() {
    std::vector<std::string> candidates;
    if (const char* home = std::getenv("JAVA_HOME")) candidates.push_back(std::string{home} + "/bin/java");
    candidates.emplace_back("/usr/bin/java");
    candidates.emplace_back("/usr/lib/jvm/default-java/bin/java");
    for (const auto& candidate : candidates) {
        if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    }
    throw std::runtime_error{"no java in JAVA_HOME/bin or /usr/bin: install what scripts/packages-java.txt lists"};
}

}  // namespace

std::string class_path(std::string_view jars) {
    const std::string folder = std::string{HUFU_JARS_FOLDER} + "/" + std::string{jars};
    if (!std::filesystem::is_directory(folder)) {
        throw std::runtime_error{"the jars \"" + std::string{jars} + "\" are not in " + HUFU_JARS_FOLDER +
                                 ": run scripts/fetch-jars " + std::string{jars}};
    }
    return folder + "/*";
}

std::vector<std::string> java_words(const JavaProgram& program) {
    std::vector<std::string> words{"/usr/bin/env", std::string{"LD_PRELOAD="} + HUFU_BIND_LOOPBACK_SHIM};
    if (program.syncs != nullptr) {
        words.back() += ":" + SyncCounter::library();
        words.push_back(program.syncs->environment());
    }
    words.insert(words.end(), program.environment.begin(), program.environment.end());
    words.push_back(find_java());
    words.insert(words.end(), {"-XX:-UsePerfData", "-Djava.net.preferIPv4Stack=true"});
    words.insert(words.end(), program.flags.begin(), program.flags.end());
    const std::string jars = class_path(program.jars);
    words.insert(words.end(), {"-cp", program.own_classes.empty() ? jars : program.own_classes + ":" + jars});
    words.push_back(program.main_class);
    words.insert(words.end(), program.arguments.begin(), program.arguments.end());
    return words;
}

std::vector<std::string> small_jvm(unsigned heap_mb) {
    return {"-Xmx" + std::to_string(heap_mb) + "m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k",
            "-XX:ReservedCodeCacheSize=48m"};
}

std::vector<std::string> fast_jvm(unsigned heap_mb) {
    const std::string megabytes = std::to_string(heap_mb) + "m";
    return {"-Xms" + megabytes, "-Xmx" + megabytes, "-XX:+UseG1GC"};
}

}  // namespace hufu::test_support
