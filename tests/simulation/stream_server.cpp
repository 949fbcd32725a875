#include "stream_server.hpp"

#include <algorithm>
#include <utility>

namespace hufu::simulation {

using namespace std::chrono_literals;
using degradation::Entry;
using degradation::SpillOutcome;
using degradation::SpillWhen;

StreamServer::StreamServer(EventQueue& events, LadderLedger& ledger, Loss loss)
    : events_{events}, ledger_{ledger}, loss_{loss} {
    if (loss_ == Loss::last_second) events_.after(1s, [this] { sync_every_second(); });
}

std::string StreamServer::key_of(const Message& message) {
    return message.ordering_key.empty() ? std::string{} : message.topic + "/" + message.ordering_key;
}

std::size_t StreamServer::shard_of(const Message& message) {
    const std::string key = key_of(message);
    std::size_t sum = message.id.bytes().back();
    if (!key.empty()) {
        sum = 0;
        for (const char c : key) sum += static_cast<unsigned char>(c);
    }
    return sum % shard_count;
}

degradation::LossStatement StreamServer::inspect() const {
    return {loss_, loss_ == Loss::nothing ? "appendfsync always" : "appendfsync everysec: up to one second"};
}

std::uint64_t StreamServer::epoch() const {
    std::uint64_t sum = 0;
    for (const Shard& shard : shards_) sum += shard.keys.empty() ? 0 : shard.spilled;
    return sum;
}

degradation::BufferSize StreamServer::size() const {
    degradation::BufferSize size;
    for (const Shard& shard : shards_) {
        size.entries += shard.entries.size();
        size.parked += shard.parked.size();
    }
    return size;
}

std::vector<SpillOutcome> StreamServer::spill(const std::vector<Message>& messages, SpillWhen when) {
    std::vector<SpillOutcome> outcomes;
    for (const Message& message : messages) {
        Shard& shard = shards_[shard_of(message)];
        const std::string key = key_of(message);
        if (when == SpillWhen::if_key_is_buffered && (key.empty() || !shard.keys.contains(key))) {
            outcomes.push_back({.status = SpillOutcome::Status::not_buffered});
            continue;
        }
        shard.entries.emplace(++last_position_, Stored{message, events_.system_now()});
        ++shard.spilled;
        if (!key.empty()) ++shard.keys[key];
        events_.note("in Redis: ", message.body);
        outcomes.push_back({.status = SpillOutcome::Status::spilled});
    }
    return outcomes;
}

std::vector<bool> StreamServer::holds(const std::vector<ConsumerKey>& keys) const {
    std::vector<bool> answers;
    for (const auto& [topic, ordering_key] : keys) {
        const Message like{.topic = topic, .ordering_key = ordering_key};
        answers.push_back(!ordering_key.empty() && shards_[shard_of(like)].keys.contains(key_of(like)));
    }
    return answers;
}

std::vector<Message> StreamServer::parked() const {
    std::vector<Message> all;
    for (const Shard& shard : shards_) {
        for (const auto& [position, stored] : shard.parked) all.push_back(stored.message);
    }
    return all;
}

std::uint64_t StreamServer::unpark() {
    std::uint64_t back = 0;
    for (Shard& shard : shards_) {
        std::map<std::uint64_t, Stored> left;
        for (auto& [position, stored] : std::exchange(shard.parked, {})) {
            const std::string key = key_of(stored.message);
            // Entries that are not parked stand before it: those go first, and are set aside or trimmed.
            if (!key.empty() && shard.keys[key] != shard.barred[key]) {
                left.emplace(position, std::move(stored));
                continue;
            }
            shard.entries.emplace(++last_position_, std::move(stored));
            ++back;
        }
        shard.parked = std::move(left);
        shard.barred.clear();
        for (const auto& [position, stored] : shard.parked) {
            if (const auto key = key_of(stored.message); !key.empty()) ++shard.barred[key];
        }
        shard.owner.clear();  // whoever reads must take the shard anew
    }
    return back;
}

bool StreamServer::owns(const Shard& shard, const std::string& token) const {
    return !token.empty() && shard.owner == token && events_.now() < shard.owned_until;
}

bool StreamServer::prolong(Shard& shard, const std::string& token) {
    if (!owns(shard, token)) return false;
    shard.owned_until = events_.now() + lease;
    return true;
}

std::optional<std::string> StreamServer::acquire(std::size_t number, const std::string& name, const std::string& former) {
    Shard& shard = shards_[number];
    const bool taken = !shard.owner.empty() && events_.now() < shard.owned_until;
    if (taken && shard.owner != former) return {};
    shard.owner = name + ":" + std::to_string(++shard.fence);
    shard.owned_until = events_.now() + lease;
    return shard.owner;
}

std::optional<std::vector<Entry>> StreamServer::read(std::size_t number, const std::string& token, std::uint64_t behind,
                                                     std::size_t max) {
    Shard& shard = shards_[number];
    if (!prolong(shard, token)) return {};
    std::vector<Entry> entries;
    std::vector<std::uint64_t> behind_parked;
    for (auto at = shard.entries.upper_bound(behind); at != shard.entries.end() && entries.size() < max; ++at) {
        const std::string key = key_of(at->second.message);
        if (!key.empty() && shard.barred.contains(key)) {
            behind_parked.push_back(at->first);
            continue;
        }
        entries.push_back(
            {{static_cast<std::uint32_t>(number), std::to_string(at->first)}, at->second.message, at->second.spilled_at});
    }
    for (const auto position : behind_parked) set_aside(shard, position);
    return entries;
}

std::optional<std::size_t> StreamServer::trim(std::size_t number, const std::string& token,
                                              const std::vector<std::uint64_t>& positions) {
    Shard& shard = shards_[number];
    if (!prolong(shard, token)) return {};
    std::size_t gone = 0;
    for (const auto position : positions) {
        const auto found = shard.entries.find(position);
        if (found == shard.entries.end()) continue;
        ledger_.trimmed(found->second.message.id, "Redis");
        if (const auto key = shard.keys.find(key_of(found->second.message)); key != shard.keys.end() && --key->second == 0) {
            shard.keys.erase(key);
        }
        shard.entries.erase(found);
        ++gone;
    }
    return gone;
}

std::optional<std::size_t> StreamServer::park(std::size_t number, const std::string& token,
                                              const std::vector<std::uint64_t>& positions) {
    Shard& shard = shards_[number];
    // No prolonging, as the script has it.
    if (!owns(shard, token)) return {};
    for (const auto position : positions) set_aside(shard, position);
    return positions.size();
}

void StreamServer::set_aside(Shard& shard, std::uint64_t position) {
    auto taken = shard.entries.extract(position);
    if (taken.empty()) return;
    if (const auto key = key_of(taken.mapped().message); !key.empty()) ++shard.barred[key];
    events_.note("parked in Redis: ", taken.mapped().message.body);
    shard.parked.emplace(++last_position_, std::move(taken.mapped()));
}

void StreamServer::release(std::size_t number, const std::string& token) {
    if (owns(shards_[number], token)) shards_[number].owner.clear();
}

void StreamServer::sync_every_second() {
    synced_ = shards_;
    events_.after(1s, [this] { sync_every_second(); });
}

void StreamServer::crash(EventQueue::Duration how_long) {
    refuse_connections(how_long);
    if (loss_ == Loss::nothing) return;
    const auto there = [&](std::size_t number, const MessageId& id) {
        const auto is_it = [&](const auto& one) { return one.second.message.id == id; };
        const Shard& shard = synced_[number];
        return std::any_of(shard.entries.begin(), shard.entries.end(), is_it) ||
               std::any_of(shard.parked.begin(), shard.parked.end(), is_it);
    };
    for (std::size_t number = 0; number < shard_count; ++number) {
        for (const auto* shelf : {&shards_[number].entries, &shards_[number].parked}) {
            for (const auto& [position, stored] : *shelf) {
                if (there(number, stored.message.id)) continue;
                events_.note("lost with Redis: ", stored.message.body);
                ledger_.lost(stored.message.id);
            }
        }
    }
    shards_ = synced_;
}

void StreamServer::heal() {
    refuses_until_ = silent_until_ = {};
    healed_ = true;
}

}  // namespace hufu::simulation
