// How a Java program of other people is started: a JVM of this machine, jars of scripts/fetch-jars, loopback only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <hufu/test_support/sync_counter.hpp>

namespace hufu::test_support {

struct JavaProgram {
    std::string jars;                     ///< a set of scripts/fetch-jars, such as "rocketmq-5.3.3"
    std::string main_class;               ///< with its package
    std::vector<std::string> flags = {};  ///< for the JVM
    std::vector<std::string> arguments = {};
    std::vector<std::string> environment = {};  ///< NAME=value
    std::string own_classes = {};               ///< folder or jar put before the set
    const SyncCounter* syncs = nullptr;         ///< counts its syncs
};

/// The words for `ProcessOptions::arguments`: the pid of the process is the JVM's, and whatever it binds to every address
/// is bound to 127.0.0.1. Throws std::runtime_error with the way out when there is no JVM or the set has not been fetched.
[[nodiscard]] std::vector<std::string> java_words(const JavaProgram& program);

/// "FOLDER/*" of a set, for javac and java. Throws as above.
[[nodiscard]] std::string class_path(std::string_view jars);

/// Flags for a server or client that shall take little: C1 compiler and serial collector.
[[nodiscard]] std::vector<std::string> small_jvm(unsigned heap_mb);
/// Flags for one that is measured: the JVM's own compilers and collector, the heap at its full size from the start.
[[nodiscard]] std::vector<std::string> fast_jvm(unsigned heap_mb);

}  // namespace hufu::test_support
