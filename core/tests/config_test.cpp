#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/core/config.hpp>

#include <cstdio>
#include <fstream>

namespace hufu {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

ConfigSchema schema() {
    ConfigSchema keys;
    keys.text("listen", "127.0.0.1:8080", "where to listen")
        .choice("store.kind", {"sqlite", "postgres"}, "sqlite", "which database")
        .text("store.password", "", "password of the database")
        .secret()
        .integer("workers", 4, 1, 256, "threads")
        .real("rate", 0.5, "messages per second")
        .boolean("durable", true, "wait for the disk")
        .duration("lease.length", 5s, 100ms, 1h, "how long a lease lasts")
        .size("segment_size", 64 << 20, 1 << 20, 1 << 30, "bytes of a log file")
        .list("topics", "orders", "topics to consume");
    return keys;
}

Result<Config> from_text(std::string text, std::vector<std::string> flags = {}) {
    return Config::load(schema(), {.file = "orders.toml", .file_text = std::move(text), .flags = std::move(flags)});
}

std::string refusal(std::string text, std::vector<std::string> flags = {}) {
    const auto loaded = from_text(std::move(text), std::move(flags));
    EXPECT_TRUE(loaded.has_error());
    if (!loaded.has_error()) return "nothing was refused";
    EXPECT_EQ(loaded.error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(loaded.error().disposition(), Disposition::reject);
    return loaded.error().text();
}

TEST(Config, HasFallbacksForEverything) {
    const auto config = Config::load(schema(), {}).value();
    EXPECT_EQ(config.text("listen"), "127.0.0.1:8080");
    EXPECT_EQ(config.text("store.kind"), "sqlite");
    EXPECT_EQ(config.integer("workers"), 4);
    EXPECT_EQ(config.real("rate"), 0.5);
    EXPECT_TRUE(config.boolean("durable"));
    EXPECT_EQ(config.duration("lease.length"), 5s);
    EXPECT_EQ(config.size("segment_size"), 64u << 20);
    EXPECT_THAT(config.list("topics"), ElementsAre("orders"));
    EXPECT_FALSE(config.given("workers"));
}

TEST(Config, ReadsAFile) {
    const auto config = from_text(R"(
workers = 8
durable = false
rate = 2
segment_size = "128MiB"
topics = ["orders", "pay,ments"]
listen = "0.0.0.0:80"

[store]
kind = "postgres"

[lease]
length = "1m30s"
)")
                            .value();
    EXPECT_EQ(config.integer("workers"), 8);
    EXPECT_FALSE(config.boolean("durable"));
    EXPECT_EQ(config.real("rate"), 2.0);
    EXPECT_EQ(config.size("segment_size"), 128u << 20);
    EXPECT_THAT(config.list("topics"), ElementsAre("orders", "pay,ments"));
    EXPECT_EQ(config.text("store.kind"), "postgres");
    EXPECT_EQ(config.milliseconds("lease.length"), 90'000ms);
    EXPECT_EQ(config.origin("workers"), "orders.toml:2");
    EXPECT_TRUE(config.given("workers"));
}

TEST(Config, AListFlagThatIsGivenAgainAddsToItsList) {
    const auto config = Config::load(schema(), {.file = "orders.toml",
                                                .file_text = "topics = [\"from-file\"]",
                                                .flags = {"--topics", "a,b", "--topics=c"}})
                            .value();
    EXPECT_THAT(config.list("topics"), ElementsAre("a", "b", "c"));
}

TEST(Config, FlagsWinOverEnvironmentOverFile) {
    const auto config =
        Config::load(schema(), {.file = "orders.toml",
                                .file_text = "workers = 8\nlisten = \"file:1\"\nrate = 1.5",
                                .environment = {{"ORDERS_WORKERS", "9"}, {"ORDERS_LISTEN", "env:1"}, {"HOME", "/"}},
                                .environment_prefix = "ORDERS_",
                                .flags = {"--workers=10", "--lease.length", "7s", "--durable"}})
            .value();
    EXPECT_EQ(config.integer("workers"), 10);
    EXPECT_EQ(config.text("listen"), "env:1");
    EXPECT_EQ(config.real("rate"), 1.5);
    EXPECT_EQ(config.duration("lease.length"), 7s);
    EXPECT_EQ(config.origin("workers"), "flag --workers");
    EXPECT_EQ(config.origin("listen"), "environment ORDERS_LISTEN");
}

TEST(Config, DashesAndUnderscoresAreTheSameInFlags) {
    EXPECT_EQ(from_text("", {"--segment-size=2MiB"}).value().size("segment_size"), 2u << 20);
}

TEST(Config, NamesFileLineKeyValueAndRule) {
    EXPECT_EQ(refusal("\n\nworkers = 0"), "orders.toml:3: workers = 0: a whole number from 1 to 256 is needed");
    EXPECT_EQ(refusal("workers = \"four\""), "orders.toml:1: workers = \"four\": a whole number from 1 to 256 is needed");
    EXPECT_EQ(refusal("[store]\nkind = \"mysql\""),
              "orders.toml:2: store.kind = \"mysql\": one of sqlite, postgres is needed");
    EXPECT_EQ(refusal("durable = 1"), "orders.toml:1: durable = 1: true or false is needed");
    EXPECT_EQ(refusal("[lease]\nlength = 5"),
              "orders.toml:2: lease.length = 5: a duration such as \"5s\" or \"250ms\", from 100ms to 1h is needed");
    EXPECT_EQ(refusal("segment_size = \"4KiB\""),
              "orders.toml:1: segment_size = \"4KiB\": a size such as \"1MiB\" or \"512KiB\", from 1MiB to 1GiB is needed");
    EXPECT_THAT(refusal("topics = \"orders\""), HasSubstr("a list of texts is needed"));
    EXPECT_THAT(refusal("topics = [1]"), HasSubstr("a list of texts is needed"));
    EXPECT_THAT(refusal("listen = 5"), HasSubstr("a text is needed"));
    EXPECT_EQ(refusal("", {"--workers=ten"}), "flag --workers: workers = \"ten\": a whole number from 1 to 256 is needed");
}

TEST(Config, RefusesUnknownKeysWithTheNearestKnownOne) {
    EXPECT_EQ(refusal("worker = 3"), "orders.toml:1: unknown key \"worker\"; nearest is \"workers\"");
    EXPECT_EQ(refusal("[lease]\nlenght = \"5s\""),
              "orders.toml:2: unknown key \"lease.lenght\"; nearest is \"lease.length\"");
    EXPECT_EQ(refusal("[broker]\nlisten = \"x\""), "orders.toml:2: unknown key \"broker.listen\"; nearest is \"listen\"");
    EXPECT_THAT(refusal("[entirely]\n"), StartsWith("orders.toml:1: unknown key \"entirely\""));
    EXPECT_EQ(refusal("", {"--lisen=x"}), "flag --lisen: unknown key \"lisen\"; nearest is \"--listen\"");
    EXPECT_EQ(refusal("zzzzzzzz = 3"), "orders.toml:1: unknown key \"zzzzzzzz\": --help lists the known ones");
    const auto loaded = Config::load(schema(), {.environment = {{"ORDERS_WORKER", "9"}}, .environment_prefix = "ORDERS_"});
    EXPECT_EQ(loaded.error().text(), "environment ORDERS_WORKER: no key is called so; nearest is ORDERS_WORKERS");
}

TEST(Config, RefusesBrokenTomlWithItsLine) {
    EXPECT_THAT(refusal("workers = 3\nlisten = \n"), StartsWith("orders.toml:2: not valid TOML: "));
    EXPECT_THAT(refusal("workers = 3\nworkers = 4\n"), StartsWith("orders.toml:2: not valid TOML: "));
}

TEST(Config, RefusesStrayWordsAndFlagsWithoutValue) {
    EXPECT_THAT(refusal("", {"start"}), HasSubstr("\"start\" is not expected"));
    EXPECT_THAT(refusal("", {"--workers"}), HasSubstr("flag --workers has no value"));
    EXPECT_THAT(refusal("", {"--workers", "--durable"}), HasSubstr("flag --workers has no value"));
}

TEST(Config, TakesTheWordsThatAreDeclared) {
    auto keys = schema();
    keys.words("DIRECTORY", 1);
    EXPECT_THAT(Config::load(keys, {.flags = {"/var/lib/orders"}}).value().words(), ElementsAre("/var/lib/orders"));
    EXPECT_THAT(Config::load(keys, {.flags = {"--", "--odd"}}).value().words(), ElementsAre("--odd"));
    EXPECT_TRUE(Config::load(keys, {.flags = {"a", "b"}}).has_error());
}

TEST(Config, InsistsOnRequiredKeysUnlessHelpIsWanted) {
    auto keys = schema();
    keys.text("database", "", "URL of the database").required();
    const auto missing = Config::load(keys, {});
    ASSERT_TRUE(missing.has_error());
    EXPECT_THAT(missing.error().text(), StartsWith("key \"database\" is required (URL of the database)"));
    const auto helped = Config::load(keys, {.flags = {"--help"}}).value();
    EXPECT_TRUE(helped.help_wanted());
    EXPECT_THAT(keys.help(), HasSubstr("--database=…\n      URL of the database\n      a text is needed; required"));
}

TEST(Config, NeverShowsASecret) {
    const auto config = from_text("[store]\npassword = \"hunter2\"").value();
    EXPECT_EQ(config.text("store.password"), "hunter2");
    EXPECT_THAT(config.listing(), HasSubstr("store.password = ***  # orders.toml:2"));
    EXPECT_THAT(config.error("store.password", "is wrong").text(), HasSubstr("store.password = ***: is wrong"));
    EXPECT_EQ(refusal("[store]\npassword = 5"), "orders.toml:2: store.password = ***: a text is needed");
}

TEST(Config, HelpsTheProgramToComplain) {
    const auto config = from_text("listen = \"nowhere\"").value();
    EXPECT_EQ(config.error("listen", "host:port is needed").text(),
              "orders.toml:1: listen = \"nowhere\": host:port is needed");
}

TEST(Config, ReadsTheFileThatAFlagNames) {
    const std::string path = ::testing::TempDir() + "hufu-config-test.toml";
    std::ofstream{path} << "workers = 12\n";
    const auto config = Config::load(schema(), {.file = "other.toml", .flags = {"--config", path}}).value();
    EXPECT_EQ(config.integer("workers"), 12);
    EXPECT_EQ(config.origin("workers"), path + ":1");
    std::remove(path.c_str());
    const auto missing = Config::load(schema(), {.flags = {"--config=" + path}});
    ASSERT_TRUE(missing.has_error());
    EXPECT_EQ(missing.error().code(), ErrorCode::not_found);
    EXPECT_THAT(missing.error().text(), HasSubstr(path));
}

TEST(Durations, AreReadWithUnits) {
    EXPECT_EQ(parse_duration("0").value(), 0ns);
    EXPECT_EQ(parse_duration("250us").value(), 250us);
    EXPECT_EQ(parse_duration("1h30m").value(), 90min);
    EXPECT_EQ(parse_duration("2min").value(), 2min);
    EXPECT_EQ(parse_duration("1d").value(), 24h);
    for (const auto* bad : {"", "5", "s", "5 s", "-5s", "5x", "1.5s", "5s5", "99999999999999999999s", "9999999999d"}) {
        EXPECT_EQ(parse_duration(bad).error().code(), ErrorCode::invalid_argument) << bad;
    }
}

TEST(Sizes, AreReadWithUnits) {
    EXPECT_EQ(parse_size("512").value(), 512u);
    EXPECT_EQ(parse_size("64KiB").value(), 65'536u);
    EXPECT_EQ(parse_size("1GB").value(), 1'000'000'000u);
    for (const auto* bad : {"", "MiB", "1mib", "-1", "1.5MiB", "1MiB2", "99999999999999999999", "99999999TiB"}) {
        EXPECT_EQ(parse_size(bad).error().code(), ErrorCode::invalid_argument) << bad;
    }
}

}  // namespace
}  // namespace hufu
