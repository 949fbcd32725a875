// A database for each of the three services, private to this run.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "child.hpp"
#include "evidence_reader.hpp"

namespace shop::demo {

class Databases {
public:
    virtual ~Databases() = default;
    [[nodiscard]] virtual std::string url(const std::string& role) const = 0;
};

/// Three files in `directory`.
[[nodiscard]] std::unique_ptr<Databases> sqlite_databases(const std::string& directory);

/// A PostgreSQL server of our own, from the program hufu-test-server in `programs`, with three databases. Ends with the
/// object. Throws `hufu::Exception` with the server's last words when it does not come up.
[[nodiscard]] std::unique_ptr<Databases> postgres_databases(const std::string& directory, const std::string& programs);

}  // namespace shop::demo
