#include <hufu/redis/stream_buffer.hpp>

#include <algorithm>
#include <utility>

#include <hufu/degradation/packed_message.hpp>

#include "stream_impl.hpp"
#include "stream_settings.hpp"

namespace hufu::redis {

using degradation::SpillOutcome;
using degradation::SpillWhen;

namespace {

/// One command of a script with more arguments than this would keep the server from everybody else for too long.
constexpr std::size_t messages_per_call_max = 65'536;

/// A flight takes further calls until it has this many bytes.
constexpr std::size_t flight_bytes = std::size_t{2} << 20U;

bool known_name(std::string_view name) {
    return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    });
}

std::uint64_t hash_of(std::string_view text) noexcept {
    std::uint64_t hash = 14'695'981'039'346'656'037ULL;  // FNV-1a: the same in every process and version
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1'099'511'628'211ULL;
    return hash ^ hash >> 32U;
}

/// Whether a failed command certainly did nothing.
SpillOutcome::Status status_of(const Error& error) noexcept {
    return error.disposition() == Disposition::in_doubt ? SpillOutcome::Status::in_doubt : SpillOutcome::Status::refused;
}

}  // namespace

std::string key_field(std::string_view topic, std::string_view ordering_key) {
    if (ordering_key.empty()) return {};
    std::string field{topic};
    field += '\0';
    return field += ordering_key;
}

bool is_entry(const Reply& item) {
    if (item.items.size() != 2) return false;
    const auto& words = item.items[1].items;
    return words.size() >= 4 && words[0].text == "k" && words[2].text == "m";
}

Contents contents_of(const Reply& item) {
    if (!is_entry(item)) return {{}, no_entry};
    const auto& words = item.items[1].items;
    auto message = degradation::unpack(words[3].text);
    return {message ? std::move(*message) : Message{}, words.size() >= 6 ? words[5].text : std::string{}};
}

StreamBuffer::Impl::Impl(Client& client_, StreamBufferOptions options_) : client{client_}, options{std::move(options_)} {
    if (!known_name(options.name)) {
        throw Exception{Error{ErrorCode::invalid_argument, Disposition::reject,
                              "\"" + options.name + "\" cannot name a buffer: 1 to 64 of a-z, A-Z, 0-9, '-' and '_'"}};
    }
    if (options.shards == 0 || options.shards > 1024) {
        throw Exception{Error{ErrorCode::invalid_argument, Disposition::reject,
                              std::to_string(options.shards) + " shards: 1 to 1024 are possible"}};
    }
    for (std::uint32_t shard = 0; shard < options.shards; ++shard) {
        bases.push_back("hufu:buffer:{" + options.name + ":" + std::to_string(shard) + "}");
    }
    confirmed.assign(options.shards, 0);
    spill_thread = std::thread{[this] { carry_spills(); }};
    epoch_thread = std::thread{[this] { carry_epochs(); }};
}

StreamBuffer::Impl::~Impl() {
    {
        const std::scoped_lock lock{mutex};
        stopping = true;
    }
    spill_ready.notify_all();
    epoch_ready.notify_all();
    spill_thread.join();
    epoch_thread.join();
}

std::uint32_t StreamBuffer::Impl::shard_of(std::string_view field) const {
    return static_cast<std::uint32_t>(hash_of(field) % options.shards);
}

std::uint32_t StreamBuffer::Impl::shard_of(const Message& message) const {
    if (!message.ordering_key.empty()) return shard_of(key_field(message.topic, message.ordering_key));
    const auto& id = message.id.bytes();
    return shard_of(std::string_view{reinterpret_cast<const char*>(id.data()), id.size()});
}

std::vector<Result<Reply>> StreamBuffer::Impl::run(Script& script, std::span<const std::uint32_t> shards,
                                                   std::span<const std::vector<std::string_view>> arguments) {
    std::vector<Command> commands;
    commands.reserve(shards.size());
    for (std::size_t i = 0; i < shards.size(); ++i) {
        auto command = script.by_digest(client, bases[shards[i]], std::span{arguments[i]});
        if (!command) return std::vector<Result<Reply>>(shards.size(), Result<Reply>{command.error()});
        commands.push_back(std::move(*command));
    }
    auto replies = client.run(commands);
    for (std::size_t i = 0; i < shards.size(); ++i) {
        if (!replies[i] && Script::forgotten(replies[i].error())) {
            replies[i] = client.run(script.whole(bases[shards[i]], std::span{arguments[i]}));
        }
    }
    return replies;
}

std::vector<Result<Reply>> StreamBuffer::Impl::run_everywhere(Script& script, std::string_view argument) {
    std::vector<std::uint32_t> shards(options.shards);
    for (std::uint32_t shard = 0; shard < options.shards; ++shard) shards[shard] = shard;
    const std::vector<std::vector<std::string_view>> arguments(options.shards, {argument});
    return run(script, shards, arguments);
}

void StreamBuffer::Impl::spill(Call call) {
    Error refusal;
    {
        const std::scoped_lock lock{mutex};
        for (const Message& message : call.messages) call.bytes += message.body.size() + 256;
        if (call.messages.size() > messages_per_call_max) {
            refusal = Error{ErrorCode::too_large, Disposition::reject,
                            std::to_string(call.messages.size()) + " messages in one call: at most " +
                                std::to_string(messages_per_call_max) + " are taken; spill them in parts"};
        } else if (queued_bytes > 0 && queued_bytes + call.bytes > options.queued_bytes_max) {
            refusal = Error{ErrorCode::busy, Disposition::retry,
                            client.name() + ": " + std::to_string(queued_bytes) +
                                " bytes wait for the buffer already (queued_bytes_max); it is slower than what comes in"};
        } else {
            queued_bytes += call.bytes;
            calls.push_back(std::move(call));
            spill_ready.notify_one();
            return;
        }
    }
    for (SpillOutcome& outcome : call.outcomes) outcome = {SpillOutcome::Status::refused, refusal};
    call.done();
}

void StreamBuffer::Impl::carry_spills() {
    for (;;) {
        std::vector<Call> flight;
        bool ends = false;
        {
            std::unique_lock lock{mutex};
            spill_ready.wait(lock, [this] { return stopping || !calls.empty(); });
            ends = stopping;
            std::size_t bytes = 0;
            auto end = calls.begin();
            while (end != calls.end() && (bytes == 0 || ends || bytes + end->bytes <= flight_bytes)) bytes += (end++)->bytes;
            flight.assign(std::make_move_iterator(calls.begin()), std::make_move_iterator(end));
            calls.erase(calls.begin(), end);
        }
        if (!ends) fly(flight);
        for (Call& call : flight) {
            {
                const std::scoped_lock lock{mutex};
                queued_bytes -= call.bytes;
            }
            call.done();
        }
        if (ends && flight.empty()) return;
    }
}

/// One command per shard, all at once; their order within a shard is that of the calls.
void StreamBuffer::Impl::fly(std::vector<Call>& flight) {
    struct Share {
        std::vector<std::string> words;  // when and field, packed message, …
        std::vector<std::pair<std::size_t, std::size_t>> places;
    };
    std::vector<Share> shares(options.shards);
    for (std::size_t c = 0; c < flight.size(); ++c) {
        for (std::size_t m = 0; m < flight[c].messages.size(); ++m) {
            const Message& message = flight[c].messages[m];
            const std::string field = key_field(message.topic, message.ordering_key);
            Share& share = shares[field.empty() ? shard_of(message) : shard_of(field)];
            share.words.push_back((flight[c].when == SpillWhen::always ? "0" : "1") + field);
            degradation::pack(message, share.words.emplace_back());
            share.places.emplace_back(c, m);
        }
    }
    const std::string limit = std::to_string(options.bytes_max / options.shards);
    std::vector<std::uint32_t> shards;
    std::vector<std::vector<std::string_view>> arguments;
    for (std::uint32_t shard = 0; shard < options.shards; ++shard) {
        if (shares[shard].places.empty()) continue;
        shards.push_back(shard);
        auto& words = arguments.emplace_back();
        words.reserve(shares[shard].words.size() + 1);
        words.push_back(limit);
        words.insert(words.end(), shares[shard].words.begin(), shares[shard].words.end());
    }
    auto replies = run(spill_script, shards, arguments);
    if (options.wait_replicas > 0) {
        const auto waited = client.run(Command{"WAIT", options.wait_replicas, options.wait_timeout.count()});
        if (!waited || waited->integer < options.wait_replicas) {
            const Error behind{ErrorCode::timeout, Disposition::in_doubt,
                               client.name() + ": " + (waited ? std::to_string(waited->integer) : "none") + " of " +
                                   std::to_string(options.wait_replicas) + " replicas had the spill within " +
                                   std::to_string(options.wait_timeout.count()) + " ms"};
            for (auto& reply : replies) reply = behind;
        }
    }
    for (std::size_t i = 0; i < shards.size(); ++i) settle(flight, shards[i], replies[i], shares[shards[i]].places);
}

void StreamBuffer::Impl::settle(std::vector<Call>& flight, std::uint32_t shard, const Result<Reply>& reply,
                                std::span<const std::pair<std::size_t, std::size_t>> places) {
    const auto each = [&](const SpillOutcome& outcome) {
        for (const auto& [call, message] : places) flight[call].outcomes[message] = outcome;
    };
    if (!reply) return each({status_of(reply.error()), reply.error()});
    if (reply->items.size() != 2) {
        return each({SpillOutcome::Status::in_doubt, Error{ErrorCode::protocol, Disposition::in_doubt,
                                                           client.name() + " answers a spill with something else"}});
    }
    const std::string& flags = reply->items[0].text;
    if (flags == "full") {
        return each({SpillOutcome::Status::refused,
                     Error{ErrorCode::out_of_space, Disposition::retry,
                           describe_shard(shard) + " holds " + std::to_string(reply->items[1].integer) +
                               " bytes; more than bytes_max would be needed: replay it, or raise bytes_max"}});
    }
    std::uint64_t added = 0;
    for (std::size_t i = 0; i < places.size(); ++i) {
        const bool there = i < flags.size() && flags[i] == '1';
        added += there ? 1 : 0;
        flight[places[i].first].outcomes[places[i].second] = {
            there ? SpillOutcome::Status::spilled : SpillOutcome::Status::not_buffered, {}};
    }
    remember(shard, static_cast<std::uint64_t>(reply->items[1].integer), added);
}

std::string StreamBuffer::Impl::describe_shard(std::uint32_t shard) const {
    return client.name() + ", buffer " + options.name + ", shard " + std::to_string(shard);
}

void StreamBuffer::Impl::remember(std::uint32_t shard, std::uint64_t spilled, std::uint64_t added) {
    std::uint64_t lost = 0;
    {
        const std::scoped_lock lock{memory_mutex};
        const std::uint64_t expected = confirmed[shard] + added;
        lost = spilled < expected ? expected - spilled : 0;
        confirmed[shard] = spilled;
    }
    if (lost > 0) {
        report(lost, describe_shard(shard) + " remembers " + std::to_string(lost) +
                         " spills fewer than it confirmed (restarted without its file, or failed over)");
    }
}

void StreamBuffer::Impl::report(std::uint64_t entries, std::string why) const {
    if (options.on_loss) options.on_loss({entries, std::move(why)});
}

void StreamBuffer::Impl::epoch(OnEpoch on_epoch) {
    const std::scoped_lock lock{mutex};
    on_epochs.push_back(std::move(on_epoch));
    epoch_ready.notify_one();
}

void StreamBuffer::Impl::carry_epochs() {
    for (;;) {
        std::vector<OnEpoch> waiting;
        {
            std::unique_lock lock{mutex};
            epoch_ready.wait(lock, [this] { return stopping || !on_epochs.empty(); });
            if (on_epochs.empty()) return;
            waiting.swap(on_epochs);
        }
        const auto epoch = read_epoch();
        for (const OnEpoch& on_epoch : waiting) on_epoch(epoch);
    }
}

Result<std::uint64_t> StreamBuffer::Impl::read_epoch() {
    std::vector<std::string> names;
    for (const auto& base : bases) names.push_back(base + ":epoch");
    std::vector<std::string_view> words{"MGET"};
    words.insert(words.end(), names.begin(), names.end());
    const auto read = client.run(Command{std::span<const std::string_view>{words}});
    if (!read) return read.error();
    std::uint64_t sum = 0;
    for (const Reply& one : read->items) sum += one.is_nil() ? 0 : std::stoull(one.text);
    return sum;
}

StreamBuffer::StreamBuffer(Client& client, StreamBufferOptions options)
    : impl_{std::make_unique<Impl>(client, std::move(options))} {}

StreamBuffer::~StreamBuffer() = default;

std::string StreamBuffer::describe() const { return impl_->client.name() + ", buffer " + impl_->options.name; }

void StreamBuffer::spill(std::span<const Message> messages, SpillWhen when, std::span<SpillOutcome> outcomes, Done done) {
    for (SpillOutcome& outcome : outcomes) outcome = {};
    impl_->spill({messages, when, outcomes, std::move(done)});
}

void StreamBuffer::epoch(OnEpoch on_epoch) { impl_->epoch(std::move(on_epoch)); }

}  // namespace hufu::redis
