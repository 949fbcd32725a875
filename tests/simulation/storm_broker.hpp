// A broker under an END storm, stepped by hand: what it stores is made durable when the storm says so.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <hufu/broker/dispatcher.hpp>
#include <hufu/broker/log.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/testing/fake_clock.hpp>

#include "sim_disk.hpp"
#include "wire.hpp"

namespace hufu::simulation {

class StormBroker {
public:
    using Answered = std::function<void(const WireCommand&)>;

    StormBroker(std::uint64_t seed, Answered answered);

    void receive(std::string frame);
    /// All that was stored becomes durable, and is answered.
    void settle();
    /// Of what was stored, some reaches the disk, unsynced.
    void write_behind();
    /// The process dies, or the power; comes back.
    void restart(bool power);
    /// What a consumer sees from `offset` on.
    [[nodiscard]] std::vector<SeenMessage> pull(std::string_view topic, std::int32_t queue, std::uint64_t offset);
    [[nodiscard]] MessageIdGenerator& ids() { return ids_; }
    [[nodiscard]] Random& random() { return random_; }

private:
    void start();
    void drain();

    SeededRandom random_;
    testing::FakeClock clock_;
    MessageIdGenerator ids_{clock_, random_};
    SimDisk disk_{random_};
    Answered answered_;
    std::unique_ptr<MetricsRegistry> metrics_;
    std::unique_ptr<broker::Log> log_;
    std::unique_ptr<broker::Dispatcher> dispatcher_;
    broker::ConnectionId client_;
};

}  // namespace hufu::simulation
