#include "stream_reader.hpp"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

#include <hufu/degradation/packed_message.hpp>

namespace hufu::redis {

using degradation::Entry;
using degradation::EntryId;

namespace {

/// Most entries of one trim: a script keeps the server from everybody else.
constexpr std::size_t positions_per_trim = 4'000;
/// Lua hands at most some thousands of values to one command.
constexpr std::size_t positions_per_park = 1'000;
constexpr std::chrono::milliseconds acquire_every{100};  // for shards that others own
constexpr std::chrono::milliseconds look_again_min{2};
constexpr std::chrono::milliseconds look_again_max{50};

std::vector<std::string_view> views(const std::vector<std::string>& words) { return {words.begin(), words.end()}; }

}  // namespace

template <class Each>
void StreamReader::Shard::for_each(std::span<const Position> positions, const Each& each) {
    if (positions.empty()) return;
    auto one = std::lower_bound(taken.begin(), taken.end(), positions.front(),
                                [](const Taken& left, Position right) { return left.at < right; });
    for (const Position at : positions) {
        while (one != taken.end() && one->at < at) ++one;
        if (one == taken.end()) return;
        if (one->at == at && !one->gone) each(*one);
    }
}

void StreamReader::Shard::forget(std::span<const Position> positions) {
    for_each(positions, [](Taken& one) { one.gone = true; });
    while (!taken.empty() && taken.front().gone) taken.pop_front();
}

std::size_t StreamReader::Shard::leading(std::span<const Position> asked) const {
    std::size_t count = 0;
    for (const Taken& one : taken) {
        if (count < asked.size() && one.at == asked[count]) {
            ++count;
        } else if (!one.gone) {
            break;
        }
    }
    return count;
}

StreamReader::StreamReader(StreamBuffer::Impl& buffer, std::string name)
    : buffer_{buffer},
      name_{std::move(name)},
      lease_{std::to_string(buffer.options.reader_lease.count())},
      shards_(buffer.options.shards) {}

StreamReader::~StreamReader() { static_cast<void>(release()); }

std::vector<StreamReader::Asked> StreamReader::owned() {
    const std::lock_guard lock{mutex_};
    std::vector<Asked> ours;
    for (std::uint32_t number = 0; number < shards_.size(); ++number) {
        const Shard& shard = shards_[number];
        if (shard.token.empty()) continue;
        ours.push_back({number, shard.token, shard.cursor, shard.idle ? shard.to_note() : std::string{}});
    }
    return ours;
}

/// Asks for every shard that is not ours; those of a dead reader come free when its lease ends.
Result<void> StreamReader::acquire() {
    const SteadyTime now = buffer_.client.clock().steady_now();
    std::vector<std::uint32_t> wanted;
    std::vector<std::string> former;
    {
        const std::lock_guard lock{mutex_};
        if (now < acquire_again_) return {};
        for (std::uint32_t number = 0; number < shards_.size(); ++number) {
            if (!shards_[number].token.empty()) continue;
            wanted.push_back(number);
            former.push_back(shards_[number].former);
        }
        if (wanted.empty()) return {};
        acquire_again_ = now + std::min<SteadyTime::duration>(buffer_.options.reader_lease / 10, acquire_every);
    }
    std::vector<std::vector<std::string_view>> arguments;
    for (const auto& token : former) arguments.push_back({name_, token, lease_});
    const auto replies = buffer_.run(buffer_.acquire_script, wanted, arguments);
    const std::lock_guard lock{mutex_};
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (!replies[i]) return replies[i].error();
        const auto& facts = replies[i]->items;
        if (facts.size() < 2) continue;
        Shard& shard = shards_[wanted[i]];
        shard.token = facts[0].text;
        shard.read_before = shard.noted = Position::of(facts[1].text);
        for (std::size_t at = 2; at < facts.size(); ++at) {
            if (const auto& field = facts[at].text; !field.empty()) shard.barred.insert(field);
        }
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

void StreamReader::lose_all() {
    const std::lock_guard lock{mutex_};
    for (Shard& shard : shards_) shard.lose();
    acquire_again_ = SteadyTime::min();
}

Result<std::vector<Entry>> StreamReader::read_once(std::size_t max) {
    if (auto acquired = acquire(); !acquired) return acquired.error();
    const auto ours = owned();
    std::vector<Entry> entries;
    if (ours.empty()) return entries;
    auto replies = fetch(ours, std::max<std::size_t>(max / ours.size(), 1));
    entries.reserve(max);
    for (std::size_t i = 0; i < ours.size(); ++i) {
        auto& page = replies[2 * i];
        auto& held = replies[2 * i + 1];
        if (!page || !held) {
            if (entries.empty()) {
                // Anything that is wrong for good shows again when the shard is asked for anew.
                lose_all();
                return page ? held.error() : page.error();
            }
            const std::lock_guard lock{mutex_};
            shards_[ours[i].number].lose();
        } else if (held->integer < 0) {
            const std::lock_guard lock{mutex_};
            if (shards_[ours[i].number].token == ours[i].token) shards_[ours[i].number].lose();
        } else if (auto taken = take(ours[i], std::move(*page), entries); !taken) {
            lose_all();  // nobody gets what was read beside it: it must come again, before what is behind it
            return taken.error();
        }
    }
    return entries;
}

/// A page of each shard and, behind it, whether the shard was still ours: two replies each. The pages are not read by the
/// script: making Lua's values of them, and replies of those, would cost four times as much as reading them.
std::vector<Result<Reply>> StreamReader::fetch(std::span<const Asked> asked, std::size_t count) {
    std::vector<Command> commands;
    commands.reserve(2 * asked.size());
    for (const Asked& one : asked) {
        const std::string& base = buffer_.bases[one.number];
        auto held = buffer_.hold_script.by_digest(buffer_.client, base, {one.token, lease_, one.note});
        if (!held) return std::vector<Result<Reply>>(2 * asked.size(), Result<Reply>{held.error()});
        commands.emplace_back("XRANGE", base + ":entries", "(" + one.cursor.text(), "+", "COUNT", count);
        commands.push_back(std::move(*held));
    }
    auto replies = buffer_.client.run(commands);
    for (std::size_t i = 0; i < asked.size(); ++i) {
        auto& held = replies[2 * i + 1];
        if (held || !Script::forgotten(held.error())) continue;
        const Asked& one = asked[i];
        held = buffer_.client.run(buffer_.hold_script.whole(buffer_.bases[one.number], {one.token, lease_, one.note}));
    }
    return replies;
}

/// What a shard gave: to the caller; what cannot be read, or waits behind a parked one of its key, is parked at once.
Result<void> StreamReader::take(const Asked& asked, Reply page, std::vector<Entry>& out) {
    std::vector<Position> behind;
    std::vector<std::pair<Position, std::string>> unreadable;
    {
        const std::lock_guard lock{mutex_};
        Shard& shard = shards_[asked.number];
        if (shard.token != asked.token) return {};  // a trim has found out that it is lost
        if (!asked.note.empty()) shard.noted = asked.cursor;
        shard.idle = page.items.empty();
        for (Reply& item : page.items) {
            if (item.items.size() != 2) continue;
            std::string& text = item.items[0].text;
            const Position at = Position::of(text);
            shard.cursor = at;
            if (!is_entry(item)) {
                unreadable.emplace_back(at, no_entry);
                shard.taken.push_back({at, {}, 0});
                continue;
            }
            auto& fields = item.items[1].items;
            std::string& field = fields[1].text;
            const std::string& packed = fields[3].text;
            const std::size_t bytes = packed.size();
            if (shard.barred.contains(field)) {
                behind.push_back(at);
            } else if (auto message = degradation::unpack(packed); !message) {
                unreadable.emplace_back(at, message.error().text());
                if (!field.empty()) shard.barred.insert(field);
            } else {
                const std::uint32_t before = at <= shard.read_before ? 1 : 0;
                out.push_back({{asked.number, std::move(text)}, std::move(*message), at.time(), before});
            }
            shard.taken.push_back({at, std::move(field), bytes});
        }
    }
    for (const auto& [at, reason] : unreadable) {
        if (auto parked = park_shard(asked.number, asked.token, std::span{&at, 1}, reason); !parked) return parked;
    }
    if (behind.empty()) return {};
    return park_shard(asked.number, asked.token, behind, "behind a parked message of its key");
}

std::vector<std::vector<Position>> StreamReader::by_shard(std::span<const EntryId> entries) {
    const std::lock_guard lock{mutex_};
    std::vector<std::vector<Position>> sorted(shards_.size());
    for (const EntryId& id : entries) {
        if (id.shard >= shards_.size()) continue;
        if (!shards_[id.shard].taken.empty()) sorted[id.shard].push_back(Position::of(id.position));
    }
    for (auto& positions : sorted) {
        if (!std::is_sorted(positions.begin(), positions.end())) std::sort(positions.begin(), positions.end());
        positions.erase(std::unique(positions.begin(), positions.end()), positions.end());
    }
    return sorted;
}

/// One flight for all shards, so that a server that syncs with every write syncs once for them.
Result<std::size_t> StreamReader::trim(std::span<const EntryId> entries) {
    std::size_t gone = 0;
    const auto sorted = by_shard(entries);
    for (std::size_t at = 0;; at += positions_per_trim) {
        if (std::all_of(sorted.begin(), sorted.end(), [at](const auto& part) { return part.size() <= at; })) return gone;
        const auto to_go = parcels(sorted, at);
        if (to_go.empty()) continue;
        const auto trimmed = send(to_go);
        if (!trimmed) return trimmed.error();
        gone += *trimmed;
    }
}

/// Entries in front of which nothing stays go by one word, "everything before"; the others are named one by one.
std::vector<StreamReader::Parcel> StreamReader::parcels(const std::vector<std::vector<Position>>& sorted, std::size_t at) {
    const std::lock_guard lock{mutex_};
    std::vector<Parcel> found;
    for (std::uint32_t number = 0; number < sorted.size(); ++number) {
        Shard& shard = shards_[number];
        if (shard.token.empty() || sorted[number].size() <= at) continue;
        const auto rest = std::span{sorted[number]}.subspan(at);
        Parcel parcel{.number = number, .token = shard.token, .cursor = shard.cursor};
        std::size_t bytes = 0;
        bool in_doubt = false;
        std::unordered_map<std::string_view, std::size_t> fields;
        shard.for_each(rest.first(std::min(positions_per_trim, rest.size())), [&](const Taken& taken) {
            parcel.positions.push_back(taken.at);
            bytes += taken.bytes;
            in_doubt = in_doubt || taken.in_doubt;
            ++fields[taken.field];
        });
        if (parcel.positions.empty()) continue;
        // Where the server does not say who it is, its numbers may have begun anew below ours.
        const bool one_by_one = in_doubt || shard.token.back() == ':';
        const std::size_t leading = one_by_one ? 0 : shard.leading(parcel.positions);
        const std::string stays = leading > 0 ? parcel.positions[leading - 1].next().text() : std::string{};
        const std::size_t single = parcel.positions.size() - leading;
        parcel.words = {shard.token,
                        lease_,
                        shard.to_note(),
                        std::to_string(parcel.positions.size()),
                        in_doubt ? std::string{} : std::to_string(bytes),
                        stays,
                        std::to_string(single)};
        for (std::size_t i = leading; i < parcel.positions.size(); ++i) parcel.words.push_back(parcel.positions[i].text());
        for (const auto& [field, count] : fields) {
            parcel.words.emplace_back(field);
            parcel.words.push_back(std::to_string(count));
        }
        found.push_back(std::move(parcel));
    }
    return found;
}

Result<std::size_t> StreamReader::send(std::span<const Parcel> parcels) {
    std::vector<std::uint32_t> numbers;
    std::vector<std::vector<std::string_view>> arguments;
    for (const Parcel& parcel : parcels) {
        numbers.push_back(parcel.number);
        arguments.push_back(views(parcel.words));
    }
    const auto replies = buffer_.run(buffer_.trim_script, numbers, arguments);
    const std::lock_guard lock{mutex_};
    std::size_t gone = 0;
    std::optional<Error> failed;
    for (std::size_t i = 0; i < parcels.size(); ++i) {
        const Parcel& parcel = parcels[i];
        Shard& shard = shards_[parcel.number];
        if (!replies[i]) {
            failed = replies[i].error();
            if (shard.token != parcel.token) continue;
            shard.for_each(parcel.positions, [](Taken& taken) { taken.in_doubt = true; });
            continue;
        }
        if (replies[i]->integer > 0) gone += static_cast<std::size_t>(replies[i]->integer);
        if (shard.token != parcel.token) continue;
        if (replies[i]->integer < 0) {
            shard.lose();
            continue;
        }
        shard.forget(parcel.positions);
        if (replies[i]->integer > 0) shard.noted = std::max(shard.noted, parcel.cursor);
    }
    // Those of the shards that answered are gone; asked for again they are not counted twice.
    return failed ? Result<std::size_t>{*failed} : Result<std::size_t>{gone};
}

Result<void> StreamReader::park(std::span<const EntryId> entries, std::string_view reason) {
    const auto sorted = by_shard(entries);
    for (std::uint32_t number = 0; number < sorted.size(); ++number) {
        if (sorted[number].empty()) continue;
        std::string token;
        std::vector<Position> ours;
        {
            const std::lock_guard lock{mutex_};
            Shard& shard = shards_[number];
            token = shard.token;
            shard.for_each(sorted[number], [&](const Taken& taken) {
                ours.push_back(taken.at);
                if (!taken.field.empty()) shard.barred.insert(taken.field);
            });
        }
        if (auto parked = park_shard(number, token, ours, reason); !parked) return parked;
    }
    return {};
}

Result<void> StreamReader::park_shard(std::uint32_t number, const std::string& token, std::span<const Position> positions,
                                      std::string_view reason) {
    for (std::size_t at = 0; !token.empty() && at < positions.size(); at += positions_per_park) {
        const auto part = positions.subspan(at, std::min(positions_per_park, positions.size() - at));
        std::vector<std::string> words{token, std::string{reason}};
        for (const Position position : part) words.push_back(position.text());
        const std::vector<std::vector<std::string_view>> arguments{views(words)};
        const auto reply = buffer_.run(buffer_.park_script, std::span{&number, 1}, arguments).front();
        if (!reply) return reply.error();
        const std::lock_guard lock{mutex_};
        Shard& shard = shards_[number];
        if (shard.token != token) return {};
        if (reply->integer < 0) {
            shard.lose();
            return {};
        }
        shard.forget(part);
    }
    return {};
}

Result<void> StreamReader::release() {
    std::vector<std::uint32_t> numbers;
    std::vector<std::vector<std::string>> words;
    {
        const std::lock_guard lock{mutex_};
        for (std::uint32_t number = 0; number < shards_.size(); ++number) {
            if (shards_[number].token.empty()) continue;
            numbers.push_back(number);
            words.push_back({shards_[number].token, shards_[number].to_note()});
        }
    }
    std::vector<std::vector<std::string_view>> arguments;
    for (const auto& one : words) arguments.push_back(views(one));
    const auto replies = buffer_.run(buffer_.release_script, numbers, arguments);
    lose_all();
    for (const auto& reply : replies) {
        if (!reply) return reply.error();
    }
    return {};
}

}  // namespace hufu::redis
