#include <hufu/core/assert.hpp>
#include <hufu/outbox/migration.hpp>

namespace hufu::outbox {

std::string printed(std::span<const Migration> migrations) {
    std::string script;
    for (const Migration& migration : migrations) {
        script += "-- " + std::to_string(migration.number) + ": " + migration.name + "\n";
        for (const std::string& statement : migration.statements) script += statement + ";\n";
        script += "\n";
    }
    return script;
}

int latest_version(std::span<const Migration> migrations) {
    int version = 0;
    for (const Migration& migration : migrations) {
        HUFU_ASSERT(migration.number == version + 1);
        version = migration.number;
    }
    return version;
}

}  // namespace hufu::outbox
