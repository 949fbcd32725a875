// order-service: the order, payment or stock service of a small shop.
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <hufu/core/clock.hpp>
#include <hufu/core/config.hpp>
#include <hufu/core/mutant.hpp>
#include <hufu/core/until_signal.hpp>

#include "service.hpp"

namespace {

hufu::ConfigSchema schema() {
    hufu::ConfigSchema schema;
    schema.choice("role", {"order", "payment", "stock"}, "order", "which service this process is").required();
    schema.text("store", "", "its own database: sqlite:PATH or postgresql://USER@HOST/DATABASE").required();
    schema.text("broker", "", "rocketmq://HOST:PORT, or embedded:DIR").required();
    schema.text("listen", "127.0.0.1:8080", "address for HTTP");
    schema.choice("mode", {"outbox", "txmsg", "buffered"}, "outbox",
                  "how the order service tells of what customers ask: rows of its outbox, transaction messages, or messages "
                  "after the commit, buffered while the broker is away");
    schema.text("redis", "", "with --mode buffered, where events wait first: redis://HOST[:PORT][?buffer=NAME]");
    schema.text("journal", "", "with --mode buffered, where events wait when Redis is away too: journal:DIR");
    schema.choice("tolerates", {"nothing", "last_second", "everything"}, "nothing",
                  "what the buffered events may lose: a buffer whose settings may lose more is passed over");
    schema.boolean("relay", true, "carry this service's events in this process; false: run \"hufu relay\" beside it");
    schema.duration("relay_lease", std::chrono::seconds{5}, std::chrono::milliseconds{200}, std::chrono::hours{1},
                    "how long a killed relay's lane waits for the next one");
    schema.duration("payment_timeout", std::chrono::minutes{15}, std::chrono::milliseconds{1}, std::chrono::hours{24 * 365},
                    "an order not paid for so long is closed");
    schema.duration("guard_window", std::chrono::hours{7 * 24}, std::chrono::hours{1}, std::chrono::hours{24 * 3650},
                    "how long a handled message is remembered; clean up by \"hufu guard purge\" with the same");
    schema.duration("replay", {}, {}, std::chrono::hours{24 * 3650}, "how far back somebody may replay or redrive");
    schema.integer("effects_max", 8, 1, 256, "messages handled at the same time, per consumer group");
    return schema;
}

shop::HttpServerOptions address_of(const hufu::Config& config) {
    const auto& text = config.text("listen");
    const auto colon = text.rfind(':');
    shop::HttpServerOptions options;
    const auto digits = colon == std::string::npos ? std::string{} : text.substr(colon + 1);
    const auto [end, wrong] = std::from_chars(digits.data(), digits.data() + digits.size(), options.port);
    if (digits.empty() || wrong != std::errc{} || end != digits.data() + digits.size()) {
        throw hufu::Exception{config.error("listen", "is HOST:PORT, such as 127.0.0.1:8080")};
    }
    options.host = text.substr(0, colon);
    return options;
}

shop::Telling telling_of(const hufu::Config& config) {
    const auto& mode = config.text("mode");
    const bool buffered = mode == "buffered" && config.text("role") == "order";
    if (buffered && !config.boolean("relay")) {
        throw hufu::Exception{config.error(
            "relay", "is true with --mode buffered: another relay's messages would overtake those that are buffered")};
    }
    if (buffered) return shop::Telling::hand_over;
    return mode == "txmsg" ? shop::Telling::transaction_messages : shop::Telling::outbox;
}

void run(const hufu::Config& config) {
    const hufu::StopOnSignal stop;
    const shop::ServiceOptions options{
        .role = config.text("role"),
        .store = config.text("store"),
        .broker = config.text("broker"),
        .redis = config.text("redis"),
        .journal = config.text("journal"),
        .tolerates = hufu::degradation::parse_loss(config.text("tolerates")).value(),
        .http = address_of(config),
        .settings = {.telling = telling_of(config), .payment_timeout = config.milliseconds("payment_timeout")},
        .relay = config.boolean("relay"),
        .relay_lease = config.milliseconds("relay_lease"),
        .effects_max = static_cast<std::size_t>(config.integer("effects_max")),
        .guard_window = std::chrono::floor<std::chrono::seconds>(config.duration("guard_window")),
        .replay = std::chrono::ceil<std::chrono::seconds>(config.duration("replay"))};
    const auto log = hufu::stderr_log(options.role, hufu::LogLevel::info, hufu::LogFormat::text, hufu::system_clock());
    shop::serve(options, *log, stop.token());
}

}  // namespace

int main(int count, char** arguments) {
#if defined(HUFU_WITH_MUTANTS)
    if (const char* mutant = std::getenv("HUFU_MUTANT")) hufu::activate_mutant(mutant);
#endif
    try {
        const auto known = schema();
        const auto config = hufu::Config::load(known, {.flags = {arguments + 1, arguments + count}}).value();
        if (config.help_wanted()) {
            std::printf("order-service: the order, payment or stock service of a small shop\n\n%s", known.help().c_str());
            return 0;
        }
        run(config);
        return 0;
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "order-service: %s\n", failure.what());
        return 1;
    }
}
