#include <hufu/connect/connect.hpp>

#include <memory>

#include <hufu/postgres/verdicts.hpp>
#include <hufu/sqlite/verdicts.hpp>

#include "url.hpp"

namespace hufu::connect {

Result<std::unique_ptr<txmsg::VerdictStore>> verdicts(const std::string& url, const Surroundings& surroundings) {
    constexpr std::string_view known[] = {"sqlite:PATH", "postgresql://USER@HOST/DATABASE"};
    constexpr std::string_view what = "a verdict store";
    const auto parsed = parse_url(url, what, known);
    if (!parsed) {
        return parsed.error();
    }
    if (parsed->scheme == "sqlite") {
        try {
            sqlite::VerdictStoreOptions options;
            options.clock = surroundings.clock;
            return std::make_unique<sqlite::VerdictStore>(parsed->rest, options);
        } catch (const Exception& exception) {
            return exception.error();
        }
    }
    if (parsed->scheme == "postgresql" || parsed->scheme == "postgres") {
        return std::make_unique<postgres::VerdictStore>(url);
    }
    return unknown_url(url, what, known);
}

}  // namespace hufu::connect
