#include "stream_link.hpp"

#include <algorithm>

namespace hufu::simulation {

using namespace std::chrono_literals;
using degradation::Entry;
using degradation::EntryId;
using degradation::SpillOutcome;
using degradation::SpillWhen;

/// To the server and back.
template <class Answer>
void StreamLink::call(std::function<Answer(StreamServer&)> at_server, Told<Answer> told) {
    const auto life = process_.life();
    const auto ended = std::make_shared<bool>(false);
    const auto end = [ended, told = std::move(told)](const Result<Answer>& answer) {
        if (!std::exchange(*ended, true)) told(answer);
    };
    process_.hear(life, patience, [end] {
        end(Error{ErrorCode::timeout, Disposition::in_doubt, "Redis: no answer in time"});
    });
    const auto goes_wrong = [this](std::uint64_t one_in) {
        return !good_network_ && !server_.healed() && events_.chance(one_in);
    };
    if (goes_wrong(150)) return;
    const bool late = goes_wrong(60);
    const bool answer_lost = goes_wrong(150);
    events_.between(late ? 20ms : 50us, late ? 900ms : 900us, [=, this, at_server = std::move(at_server)] {
        const EventQueue::Duration hop = 50us + std::chrono::microseconds{events_.random().below(900)};
        if (server_.refuses()) {
            process_.hear(life, hop, [end] {
                end(Error{ErrorCode::unavailable, Disposition::retry, "Redis: connection refused"});
            });
        } else if (!server_.is_silent()) {
            const Answer answer = at_server(server_);
            if (!answer_lost) process_.hear(life, hop, [end, answer] { end(answer); });
        }
    });
}

void StreamLink::inspect(Told<degradation::LossStatement> told) {
    call<degradation::LossStatement>([](StreamServer& server) { return server.inspect(); }, std::move(told));
}

void StreamLink::size(Told<degradation::BufferSize> told) {
    call<degradation::BufferSize>([](StreamServer& server) { return server.size(); }, std::move(told));
}

void StreamLink::epoch(Told<std::uint64_t> told) {
    call<std::uint64_t>([](StreamServer& server) { return server.epoch(); }, std::move(told));
}

void StreamLink::spill(std::vector<Message> messages, SpillWhen when, std::function<void(Outcomes)> told) {
    const std::size_t count = messages.size();
    call<Outcomes>([messages = std::move(messages), when](StreamServer& server) { return server.spill(messages, when); },
                   [count, told = std::move(told)](const Result<Outcomes>& answer) {
                       if (answer) return told(*answer);
                       const auto status = answer.error().disposition() == Disposition::in_doubt
                                               ? SpillOutcome::Status::in_doubt
                                               : SpillOutcome::Status::refused;
                       told(Outcomes(count, SpillOutcome{status, answer.error()}));
                   });
}

void StreamLink::holds(std::vector<ConsumerKey> keys, Told<std::vector<bool>> told) {
    call<std::vector<bool>>([keys = std::move(keys)](StreamServer& server) { return server.holds(keys); }, std::move(told));
}

void StreamLink::parked(Told<std::vector<Message>> told) {
    call<std::vector<Message>>([](StreamServer& server) { return server.parked(); }, std::move(told));
}

void StreamLink::unpark(Told<std::uint64_t> told) {
    call<std::uint64_t>([](StreamServer& server) { return server.unpark(); }, std::move(told));
}

/// Takes the shards that are free, and reads in those that are ours. The adapter asks twice, this asks once.
void StreamLink::read(std::size_t max, Told<std::vector<Entry>> told) {
    struct Found {
        Shards shards;
        std::vector<Entry> entries;
    };
    const auto at_server = [this, max, shards = shards_](StreamServer& server) mutable {
        Found found{std::move(shards), {}};
        for (std::size_t number = 0; number < StreamServer::shard_count; ++number) {
            Shard& shard = found.shards[number];
            if (shard.token.empty()) shard.token = server.acquire(number, name_, shard.former).value_or("");
            if (shard.token.empty()) continue;
            const auto read =
                server.read(number, shard.token, shard.behind, std::max<std::size_t>(max / StreamServer::shard_count, 1));
            if (!read) {
                shard.lose();
                continue;
            }
            if (!read->empty()) shard.behind = std::stoull(read->back().id.position);
            found.entries.insert(found.entries.end(), read->begin(), read->end());
        }
        return found;
    };
    call<Found>(at_server, [this, told = std::move(told)](const Result<Found>& found) {
        if (!found) {
            for (Shard& shard : shards_) shard.lose();
            return told(found.error());
        }
        shards_ = found->shards;
        told(found->entries);
    });
}

void StreamLink::change(Change how, const std::vector<EntryId>& entries, Told<std::size_t> told) {
    using Counts = std::array<std::optional<std::size_t>, StreamServer::shard_count>;
    const auto at_server = [how, entries, shards = shards_](StreamServer& server) {
        Counts counts;
        for (std::size_t number = 0; number < shards.size(); ++number) {
            std::vector<std::uint64_t> positions;
            for (const EntryId& id : entries) {
                if (id.shard == number) positions.push_back(std::stoull(id.position));
            }
            counts[number] = positions.empty() ? 0 : (server.*how)(number, shards[number].token, positions);
        }
        return counts;
    };
    call<Counts>(at_server, [this, told = std::move(told)](const Result<Counts>& counts) {
        if (!counts) return told(counts.error());
        std::size_t sum = 0;
        for (std::size_t number = 0; number < shards_.size(); ++number) {
            sum += (*counts)[number].value_or(0);
            if (!(*counts)[number]) shards_[number].lose();
        }
        told(sum);
    });
}

void StreamLink::trim(std::vector<EntryId> entries, Told<std::size_t> told) {
    change(&StreamServer::trim, entries, std::move(told));
}

void StreamLink::park(std::vector<EntryId> entries, std::string, Told<std::size_t> told) {
    change(&StreamServer::park, entries, std::move(told));
}

void StreamLink::release(std::function<void()> told) {
    const Shards held = std::exchange(shards_, {});
    for (std::size_t number = 0; number < held.size(); ++number) {
        shards_[number] = held[number];
        shards_[number].lose();
    }
    call<bool>(
        [held](StreamServer& server) {
            for (std::size_t number = 0; number < held.size(); ++number) server.release(number, held[number].token);
            return true;
        },
        [told = std::move(told)](const Result<bool>&) { told(); });
}

}  // namespace hufu::simulation
