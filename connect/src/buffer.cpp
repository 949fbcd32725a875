#include <algorithm>
#include <charconv>
#include <filesystem>
#include <memory>
#include <utility>

#include <hufu/connect/connect.hpp>
#include <hufu/core/file.hpp>
#include <hufu/degradation/journal.hpp>
#include <hufu/redis/stream_buffer.hpp>

#include "url.hpp"

namespace hufu::connect {
namespace {

constexpr std::string_view known[] = {"redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE][?buffer=NAME&shards=N&…]",
                                      "journal:DIR"};

/// What an outage may cost a caller: a buffer that does not answer is a rung that is passed over.
constexpr std::chrono::milliseconds connect_timeout{500};
constexpr std::chrono::milliseconds command_timeout{1000};
constexpr std::chrono::milliseconds reconnect_pause_max{200};

Error refuse(const std::string& url, const std::string& why) {
    return Error{ErrorCode::invalid_argument, Disposition::reject, "\"" + without_password(url) + "\": " + why};
}

template <class Number>
bool read_number(std::string_view text, Number& into) {
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), into);
    return problem == std::errc{} && end == text.data() + text.size();
}

/// One `name=value` of the query. False: the value is not one.
Result<void> set_option(const std::string& url, std::string_view name, std::string_view value,
                        redis::StreamBufferOptions& options) {
    const auto number = [&](auto& into) -> Result<void> {
        if (read_number(value, into)) return {};
        return refuse(url, std::string{name} + "=\"" + std::string{value} + "\" is not a number");
    };
    if (name == "buffer") {
        options.name = value;
        return {};
    }
    if (name == "shards") return number(options.shards);
    if (name == "wait_replicas") return number(options.wait_replicas);
    if (name == "bytes_max") return number(options.bytes_max);
    if (name == "lease_ms") {
        std::uint32_t ms = 0;
        auto read = number(ms);
        if (read && ms < 100) return refuse(url, "lease_ms=" + std::to_string(ms) + ": at least 100 are needed");
        if (read) options.reader_lease = std::chrono::milliseconds{ms};
        return read;
    }
    if (name == "may_lose") {
        const auto loss = degradation::parse_loss(value);
        if (!loss) return refuse(url, loss.error().text());
        options.declared = *loss;
        return {};
    }
    return refuse(url, "\"" + std::string{name} +
                           "\" is not a setting of a buffer; known are buffer, shards, wait_replicas, "
                           "bytes_max, lease_ms, may_lose (and db for a Unix socket)");
}

/// Takes the buffer's settings out of the query; what is left is the server's address.
Result<std::string> server_address(const std::string& url, redis::StreamBufferOptions& options) {
    const auto question = url.find('?');
    std::string address = url.substr(0, question);
    std::string_view query = question == std::string::npos ? std::string_view{} : std::string_view{url}.substr(question + 1);
    while (!query.empty()) {
        const auto pair = query.substr(0, query.find('&'));
        query.remove_prefix(std::min(pair.size() + 1, query.size()));
        const auto equals = pair.find('=');
        if (equals == std::string_view::npos) return refuse(url, "\"" + std::string{pair} + "\" is not name=value");
        if (pair.starts_with("db=")) {
            (address += '?') += pair;
        } else if (auto set = set_option(url, pair.substr(0, equals), pair.substr(equals + 1), options); !set) {
            return set.error();
        }
    }
    return address;
}

/// A stream buffer with the connection it works on.
class OwnRedisBuffer final : public degradation::Buffer {
public:
    OwnRedisBuffer(const std::string& address, const redis::StreamBufferOptions& options, Clock* clock)
        : client_{address,
                  {.connect_timeout = connect_timeout,
                   .command_timeout = command_timeout,
                   .reconnect_pause_max = reconnect_pause_max,
                   .clock = clock}},
          buffer_{client_, options} {}

    [[nodiscard]] std::string describe() const override { return buffer_.describe(); }
    [[nodiscard]] Result<degradation::LossStatement> inspect() override { return buffer_.inspect(); }
    void spill(std::span<const Message> messages, degradation::SpillWhen when, std::span<degradation::SpillOutcome> outcomes,
               Done done) override {
        buffer_.spill(messages, when, outcomes, std::move(done));
    }
    void epoch(OnEpoch on_epoch) override { buffer_.epoch(std::move(on_epoch)); }
    [[nodiscard]] Result<degradation::BufferSize> size() override { return buffer_.size(); }
    [[nodiscard]] Result<std::vector<bool>> holds(std::span<const ConsumerKey> keys) override { return buffer_.holds(keys); }
    [[nodiscard]] Result<void> browse(Shelf shelf, const std::function<bool(const degradation::Entry&)>& see) override {
        return buffer_.browse(shelf, see);
    }
    [[nodiscard]] Result<std::uint64_t> unpark() override { return buffer_.unpark(); }
    [[nodiscard]] std::unique_ptr<degradation::BufferReader> reader(std::string name) override {
        return buffer_.reader(std::move(name));
    }

private:
    redis::Client client_;
    redis::StreamBuffer buffer_;
};

std::function<void(const redis::BufferLoss&)> told(const Surroundings& surroundings) {
    auto* const lost = surroundings.metrics == nullptr
                           ? nullptr
                           : &surroundings.metrics->counter("hufu_buffer_lost_entries_total",
                                                            "Buffered messages that the buffer had accepted and lost");
    return [lost, log = surroundings.log](const redis::BufferLoss& loss) {
        if (lost != nullptr) lost->add(loss.entries_max);
        if (log != nullptr) log->error("the buffer lost messages", {{"at_most", loss.entries_max}, {"why", loss.why}});
    };
}

Result<std::unique_ptr<degradation::Buffer>> journal(const std::string& path, Clock* clock, const BufferOptions& options) {
    std::error_code problem;
    if (path.empty() || (!options.create && !std::filesystem::is_directory(path, problem))) {
        return Error{ErrorCode::not_found, Disposition::reject,
                     "\"journal:" + path + "\": there is no folder \"" + path + "\": name the folder of a journal"};
    }
    auto folder = open_directory(path);
    if (!folder) return folder.error();
    degradation::JournalOptions journal;
    journal.give_up_damaged = options.give_up_damaged;
    auto opened = degradation::Journal::open(std::move(*folder), journal, clock != nullptr ? *clock : system_clock());
    if (!opened) return opened.error();
    return std::unique_ptr<degradation::Buffer>{std::move(*opened)};
}

}  // namespace

Result<std::unique_ptr<degradation::Buffer>> buffer(const std::string& url, const Surroundings& surroundings,
                                                    const BufferOptions& opening) {
    constexpr std::string_view journal_scheme = "journal:";
    if (url.starts_with(journal_scheme)) return journal(url.substr(journal_scheme.size()), surroundings.clock, opening);
    if (!url.starts_with("redis://") && !url.starts_with("redis+unix://")) return unknown_url(url, "a buffer", known);
    redis::StreamBufferOptions options;
    const auto address = server_address(url, options);
    if (!address) return address.error();
    options.on_loss = told(surroundings);
    try {
        return std::make_unique<OwnRedisBuffer>(*address, options, surroundings.clock);
    } catch (const Exception& refused) {
        return refused.error();
    }
}

}  // namespace hufu::connect
