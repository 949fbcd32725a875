// One process's connection to the shared buffer, and its reader there.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <utility>

#include "buffer_link.hpp"
#include "sim_process.hpp"
#include "stream_server.hpp"

namespace hufu::simulation {

/// A client of `StreamServer`: requests and answers are lost and late; without an answer it gives up.
class StreamLink final : public BufferLink {
public:
    static constexpr std::chrono::milliseconds patience{600};

    /// `good_network`: nothing is lost or late between the two.
    StreamLink(EventQueue& events, SimProcess& process, StreamServer& server, std::string name, bool good_network)
        : events_{events}, process_{process}, server_{server}, name_{std::move(name)}, good_network_{good_network} {}

    void inspect(Told<degradation::LossStatement> told) override;
    void size(Told<degradation::BufferSize> told) override;
    void epoch(Told<std::uint64_t> told) override;
    void spill(std::vector<Message> messages, degradation::SpillWhen when, std::function<void(Outcomes)> told) override;
    void holds(std::vector<ConsumerKey> keys, Told<std::vector<bool>> told) override;
    void parked(Told<std::vector<Message>> told) override;
    void unpark(Told<std::uint64_t> told) override;
    void read(std::size_t max, Told<std::vector<degradation::Entry>> told) override;
    void trim(std::vector<degradation::EntryId> entries, Told<std::size_t> told) override;
    void park(std::vector<degradation::EntryId> entries, std::string reason, Told<std::size_t> told) override;
    void release(std::function<void()> told) override;

private:
    struct Shard {
        std::string token = {};    // empty: not ours
        std::string former = {};   // what the server may still hold for us
        std::uint64_t behind = 0;  // read up to here since it is ours
        void lose() { *this = Shard{.former = token.empty() ? std::move(former) : std::move(token)}; }
    };
    using Shards = std::array<Shard, StreamServer::shard_count>;

    template <class Answer>
    void call(std::function<Answer(StreamServer&)> at_server, Told<Answer> told);
    /// Trim or park: by shard, in those that are ours.
    using Change = std::optional<std::size_t> (StreamServer::*)(std::size_t, const std::string&,
                                                                const std::vector<std::uint64_t>&);
    void change(Change how, const std::vector<degradation::EntryId>& entries, Told<std::size_t> told);

    EventQueue& events_;
    SimProcess& process_;
    StreamServer& server_;
    const std::string name_;
    const bool good_network_;
    Shards shards_;
};

}  // namespace hufu::simulation
