#include <algorithm>
#include <charconv>
#include <utility>

#include <hufu/redis/stream_buffer.hpp>

#include "stream_impl.hpp"
#include "stream_reader.hpp"
#include "stream_settings.hpp"

namespace hufu::redis {

using degradation::BufferSize;
using degradation::LossStatement;

namespace {

// Places in what the account script answers.
enum Account : std::size_t { entries, bytes, parked_entries, age, spilled, missing, bookkeeping, fields };

Error nonsense(const std::string& who) {
    return Error{ErrorCode::protocol, Disposition::retry, who + " answers the buffer's script with something else"};
}

/// One setting of CONFIG GET, which answers [name, value].
std::string setting(const Result<Reply>& reply) {
    return reply && reply->items.size() == 2 ? reply->items[1].text : std::string{};
}

std::uint64_t number_in(std::string_view text) {
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

Result<ServerSettings> settings_of(Client& client) {
    const Command asked[] = {Command{"INFO"}, Command{"CONFIG", "GET", "appendfsync"},
                             Command{"CONFIG", "GET", "maxmemory-policy"}, Command{"CONFIG", "GET", "maxmemory"}};
    const auto replies = client.run(asked);
    ServerSettings settings;
    if (replies[0]) {
        const std::string& info = replies[0]->text;
        if (const auto on = info_field(info, "aof_enabled"); !on.empty()) settings.append_only = on == "1";
        settings.replicas = static_cast<std::uint32_t>(number_in(info_field(info, "connected_slaves")));
        settings.is_replica = info_field(info, "role") == "slave";
        settings.run_id = info_field(info, "run_id");
    } else if (replies[0].error().code() != ErrorCode::permission) {
        return replies[0].error();
    }
    settings.append_sync = setting(replies[1]);
    settings.eviction_policy = setting(replies[2]);
    settings.memory_max = number_in(setting(replies[3]));
    return settings;
}

}  // namespace

Result<LossStatement> StreamBuffer::inspect() {
    const auto settings = settings_of(impl_->client);
    if (!settings) return settings.error();
    if (settings->is_replica) {
        return Error{ErrorCode::unavailable, Disposition::retry,
                     impl_->client.name() + " is a replica and takes no writes: give the primary's address"};
    }
    const auto accounts = impl_->run_everywhere(impl_->account_script, "mend");
    for (std::uint32_t shard = 0; shard < accounts.size(); ++shard) {
        const auto& account = accounts[shard];
        if (!account) return account.error();
        if (account->items.size() != fields) return nonsense(impl_->describe_shard(shard));
        if (const auto gone = account->items[missing].integer; gone > 0) {
            impl_->report(static_cast<std::uint64_t>(gone),
                          impl_->describe_shard(shard) + " has " + std::to_string(gone) +
                              " entries fewer than it counted (evicted, or deleted by somebody)");
        }
        if (const auto& names = account->items[bookkeeping].text; !names.empty()) {
            impl_->report(0,
                          impl_->describe_shard(shard) + " had no " + names +
                              " (evicted, or deleted by somebody): made anew; messages may have overtaken others of their "
                              "key meanwhile");
        }
        impl_->remember(shard, static_cast<std::uint64_t>(account->items[spilled].integer), 0);
    }
    return loss_of(*settings, impl_->options.wait_replicas, impl_->options.declared);
}

Result<BufferSize> StreamBuffer::size() {
    BufferSize size;
    for (const auto& account : impl_->run_everywhere(impl_->account_script)) {
        if (!account) return account.error();
        if (account->items.size() != fields) return nonsense(describe());
        size.entries += static_cast<std::uint64_t>(account->items[entries].integer);
        size.bytes += static_cast<std::uint64_t>(std::max<std::int64_t>(account->items[bytes].integer, 0));
        size.parked += static_cast<std::uint64_t>(account->items[parked_entries].integer);
        if (const auto ms = account->items[age].integer; ms >= 0) {
            size.oldest_age =
                std::max(size.oldest_age.value_or(std::chrono::milliseconds{0}), std::chrono::milliseconds{ms});
        }
    }
    return size;
}

Result<std::vector<bool>> StreamBuffer::holds(std::span<const ConsumerKey> keys) {
    std::vector<Command> asked;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (keys[i].ordering_key.empty()) continue;
        const std::string field = key_field(keys[i].topic, keys[i].ordering_key);
        asked.emplace_back("HEXISTS", impl_->bases[impl_->shard_of(field)] + ":keys", field);
        places.push_back(i);
    }
    std::vector<bool> held(keys.size(), false);
    if (asked.empty()) return held;
    const auto answers = impl_->client.run(asked);
    for (std::size_t i = 0; i < places.size(); ++i) {
        if (!answers[i]) return answers[i].error();
        held[places[i]] = answers[i]->integer == 1;
    }
    return held;
}

std::unique_ptr<degradation::BufferReader> StreamBuffer::reader(std::string name) {
    return std::make_unique<StreamReader>(*impl_, std::move(name));
}

Result<std::vector<ParkedEntry>> StreamBuffer::parked(std::size_t max) {
    std::vector<ParkedEntry> found;
    for (const auto& base : impl_->bases) {
        if (found.size() >= max) break;
        const auto page = impl_->client.run(Command{"XRANGE", base + ":parked", "-", "+", "COUNT", max - found.size()});
        if (!page) return page.error();
        for (const Reply& entry : page->items) {
            Contents contents = contents_of(entry);
            found.push_back({std::move(contents.message), std::move(contents.reason)});
        }
    }
    return found;
}

Result<std::uint64_t> StreamBuffer::unpark() {
    std::uint64_t back = 0;
    for (const auto& reply : impl_->run_everywhere(impl_->unpark_script)) {
        if (!reply) return reply.error();
        back += static_cast<std::uint64_t>(reply->integer);
    }
    return back;
}

}  // namespace hufu::redis
