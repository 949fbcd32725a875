#include "stream_reader.hpp"

#include <algorithm>
#include <charconv>
#include <deque>
#include <optional>
#include <utility>

#include <hufu/degradation/packed_message.hpp>

namespace hufu::redis {

using degradation::Entry;
using degradation::EntryId;

namespace {

/// Lua hands at most some thousands of values to one command.
constexpr std::size_t positions_per_script = 1000;
constexpr std::chrono::milliseconds acquire_every{100};  // for shards that others own
constexpr std::chrono::milliseconds look_again_min{2};
constexpr std::chrono::milliseconds look_again_max{50};

/// "1700000000123-4": the time in front is the server's.
SystemTime time_of(std::string_view position) {
    std::int64_t ms = 0;
    std::from_chars(position.data(), position.data() + position.size(), ms);
    return SystemTime{std::chrono::milliseconds{ms}};
}

}  // namespace

StreamReader::StreamReader(StreamBuffer::Impl& buffer, std::string name)
    : buffer_{buffer},
      name_{std::move(name)},
      lease_{std::to_string(buffer.options.reader_lease.count())},
      shards_(buffer.options.shards) {}

StreamReader::~StreamReader() { static_cast<void>(release()); }

std::vector<std::uint32_t> StreamReader::owned() const {
    std::vector<std::uint32_t> ours;
    for (std::uint32_t shard = 0; shard < shards_.size(); ++shard) {
        if (!shards_[shard].token.empty()) ours.push_back(shard);
    }
    return ours;
}

/// Asks for every shard that is not ours; those of a dead reader come free when its lease ends.
Result<void> StreamReader::acquire() {
    const SteadyTime now = buffer_.client.clock().steady_now();
    if (now < acquire_again_) return {};
    std::vector<std::uint32_t> wanted;
    std::vector<std::vector<std::string_view>> arguments;
    for (std::uint32_t shard = 0; shard < shards_.size(); ++shard) {
        if (!shards_[shard].token.empty()) continue;
        wanted.push_back(shard);
        arguments.push_back({name_, shards_[shard].former, lease_});
    }
    if (wanted.empty()) return {};
    acquire_again_ = now + std::min<SteadyTime::duration>(buffer_.options.reader_lease / 10, acquire_every);
    const auto replies = buffer_.run(buffer_.acquire_script, wanted, arguments);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (!replies[i]) return replies[i].error();
        if (replies[i]->items.empty()) continue;
        Shard& shard = shards_[wanted[i]];
        shard.token = replies[i]->items.front().text;
        shard.cursor = "0-0";
        for (std::size_t at = 1; at < replies[i]->items.size(); ++at) shard.barred.insert(replies[i]->items[at].text);
    }
    return {};
}

Result<std::vector<Entry>> StreamReader::read(std::size_t max, std::chrono::milliseconds timeout) {
    Clock& clock = buffer_.client.clock();
    const SteadyTime until = clock.steady_now() + timeout;
    auto pause = look_again_min;
    for (;;) {
        auto entries = read_once(max);
        const SteadyTime now = clock.steady_now();
        if (!entries || !entries->empty() || now >= until) return entries;
        clock.sleep_until(std::min(now + pause, until), {});
        pause = std::min(pause * 2, look_again_max);
    }
}

Result<std::vector<Entry>> StreamReader::read_once(std::size_t max) {
    if (auto acquired = acquire(); !acquired) return acquired.error();
    const auto ours = owned();
    std::vector<Entry> entries;
    if (ours.empty()) return entries;
    const std::string count = std::to_string(std::max<std::size_t>(max / ours.size(), 1));
    std::vector<std::vector<std::string_view>> arguments;
    for (const auto shard : ours) {
        arguments.push_back({shards_[shard].token, lease_, count, name_, shards_[shard].cursor});
    }
    const auto replies = buffer_.run(buffer_.read_script, ours, arguments);
    for (std::size_t i = 0; i < ours.size(); ++i) {
        if (!replies[i] && entries.empty()) {
            // NOGROUP and the like: the server has forgotten the shard. Anything else shows again when it is asked for anew.
            start_anew();
            return replies[i].error();
        }
        if (!replies[i] || replies[i]->items.size() != 3) {
            shards_[ours[i]].lose();
            continue;
        }
        if (auto taken = take(ours[i], *replies[i], entries); !taken) {
            // Nobody gets what the server has just given us: it must come again, before what is behind it.
            start_anew();
            return taken.error();
        }
    }
    return entries;
}

/// Gives up every shard; asked for anew, each begins with what it had given and what was neither trimmed nor parked.
void StreamReader::start_anew() {
    for (Shard& shard : shards_) shard.lose();
    acquire_again_ = SteadyTime::min();
}

/// What a shard gave: to the caller; what cannot be read, or waits behind a parked one of its key, is parked at once.
Result<void> StreamReader::take(std::uint32_t number, const Reply& reply, std::vector<Entry>& out) {
    Shard& shard = shards_[number];
    shard.cursor = reply.items[0].text;
    std::vector<std::string> behind;
    Parcel unreadable;
    for (const Reply& item : reply.items[1].items) {
        if (item.items.size() != 2) continue;
        if (!is_entry(item)) {
            unreadable.emplace_back(item.items[0].text, no_entry);
            continue;
        }
        const std::string& position = item.items[0].text;
        const std::string& field = item.items[1].items[1].text;
        const std::string& packed = item.items[1].items[3].text;
        if (shard.barred.contains(field)) {
            behind.push_back(position);
            continue;
        }
        auto message = degradation::unpack(packed);
        if (!message) {
            unreadable.emplace_back(position, message.error().text());
            if (!field.empty()) shard.barred.insert(field);
            continue;
        }
        std::uint32_t deliveries = 0;
        for (const Reply& count : reply.items[2].items) {
            if (count.items.size() == 2 && count.items[0].text == position) {
                deliveries = static_cast<std::uint32_t>(std::max<std::int64_t>(count.items[1].integer - 1, 0));
            }
        }
        shard.taken[position] = {field, packed.size()};
        out.push_back({{number, position}, std::move(*message), time_of(position), deliveries});
    }
    for (const auto& [position, reason] : unreadable) {
        if (auto parked = park_shard(number, std::span{&position, 1}, reason); !parked) return parked;
    }
    return behind.empty() ? Result<void>{} : park_shard(number, behind, "behind a parked message of its key");
}

std::vector<std::vector<std::string>> StreamReader::by_shard(std::span<const EntryId> entries) const {
    std::vector<std::vector<std::string>> sorted(shards_.size());
    for (const EntryId& id : entries) {
        if (id.shard < shards_.size() && shards_[id.shard].taken.contains(id.position)) {
            sorted[id.shard].push_back(id.position);
        }
    }
    return sorted;
}

/// One flight for all shards, so that a server that syncs with every write syncs once for them.
Result<std::size_t> StreamReader::trim(std::span<const EntryId> entries) {
    std::size_t gone = 0;
    const auto sorted = by_shard(entries);
    for (std::size_t at = 0;; at += positions_per_script) {
        std::vector<std::uint32_t> numbers;
        std::vector<std::span<const std::string>> parts;
        for (std::uint32_t shard = 0; shard < sorted.size(); ++shard) {
            if (shards_[shard].token.empty() || sorted[shard].size() <= at) continue;
            const auto rest = std::span{sorted[shard]}.subspan(at);
            numbers.push_back(shard);
            parts.push_back(rest.first(std::min(positions_per_script, rest.size())));
        }
        if (numbers.empty()) return gone;
        const auto trimmed = trim_shards(numbers, parts);
        if (!trimmed) return trimmed.error();
        gone += *trimmed;
    }
}

Result<std::size_t> StreamReader::trim_shards(std::span<const std::uint32_t> numbers,
                                              std::span<const std::span<const std::string>> parts) {
    std::deque<std::string> figures;  // what the words point into
    std::vector<std::vector<std::string_view>> arguments;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        std::size_t bytes = 0;
        std::unordered_map<std::string_view, std::size_t> fields;
        for (const auto& position : parts[i]) {
            const Taken& taken = shards_[numbers[i]].taken.at(position);
            bytes += taken.bytes;
            if (!taken.field.empty()) ++fields[taken.field];
        }
        auto& words = arguments.emplace_back();
        words = {shards_[numbers[i]].token, lease_, figures.emplace_back(std::to_string(bytes)),
                 figures.emplace_back(std::to_string(parts[i].size()))};
        words.insert(words.end(), parts[i].begin(), parts[i].end());
        for (const auto& [field, number_of] : fields) {
            words.push_back(field);
            words.push_back(figures.emplace_back(std::to_string(number_of)));
        }
    }
    const auto replies = buffer_.run(buffer_.trim_script, numbers, arguments);
    std::size_t gone = 0;
    std::optional<Error> failed;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        Shard& shard = shards_[numbers[i]];
        if (!replies[i]) {
            failed = replies[i].error();
        } else if (replies[i]->integer < 0) {
            shard.lose();
        } else {
            for (const auto& position : parts[i]) shard.taken.erase(position);
            gone += static_cast<std::size_t>(replies[i]->integer);
        }
    }
    // Those of the shards that answered are gone; asked for again they are not counted twice.
    return failed ? Result<std::size_t>{*failed} : Result<std::size_t>{gone};
}

Result<void> StreamReader::park(std::span<const EntryId> entries, std::string_view reason) {
    const auto sorted = by_shard(entries);
    for (std::uint32_t shard = 0; shard < sorted.size(); ++shard) {
        if (sorted[shard].empty()) continue;
        for (const auto& position : sorted[shard]) {
            if (const auto& field = shards_[shard].taken.at(position).field; !field.empty()) {
                shards_[shard].barred.insert(field);
            }
        }
        if (auto parked = park_shard(shard, sorted[shard], reason); !parked) return parked;
    }
    return {};
}

Result<void> StreamReader::park_shard(std::uint32_t number, std::span<const std::string> positions,
                                      std::string_view reason) {
    Shard& shard = shards_[number];
    if (shard.token.empty()) return {};
    std::vector<std::string_view> words{shard.token, reason};
    words.insert(words.end(), positions.begin(), positions.end());
    const auto reply = buffer_.run(buffer_.park_script, std::span{&number, 1}, std::span{&words, 1}).front();
    if (!reply) return reply.error();
    if (reply->integer < 0) {
        shard.lose();
        return {};
    }
    for (const auto& position : positions) shard.taken.erase(position);
    return {};
}

Result<void> StreamReader::release() {
    const auto ours = owned();
    std::vector<std::vector<std::string_view>> arguments;
    for (const auto shard : ours) arguments.push_back({shards_[shard].token});
    const auto replies = buffer_.run(buffer_.release_script, ours, arguments);
    start_anew();
    for (const auto& reply : replies) {
        if (!reply) return reply.error();
    }
    return {};
}

}  // namespace hufu::redis
