// `hufu replay` from the shared buffer: does with events what `degradation::Replayer` does with a thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <hufu/degradation/replay_machine.hpp>

#include "ladder_broker.hpp"
#include "stream_link.hpp"

namespace hufu::simulation {

class ReplayNode {
public:
    ReplayNode(std::string name, EventQueue& events, LadderBroker& broker, StreamServer& server, bool good_network)
        : name_{std::move(name)}, events_{events}, broker_{broker}, server_{server}, good_network_{good_network} {}

    /// It ends by itself when it has found nothing for a while. `retry_parked`: puts back first what was set aside.
    void start(bool retry_parked);
    void kill();
    /// SIGSTOP for a while: long enough, and its shards are another one's.
    void stand_still(EventQueue::Duration how_long) { process_.stand_still(how_long); }
    [[nodiscard]] bool is_up() const { return process_.is_up(); }

private:
    void bar_what_is_parked();
    void turn();
    void publish(std::unique_ptr<degradation::ReplayBatch> batch);
    void park(std::shared_ptr<degradation::ReplayActions> actions, std::size_t next);
    void trim(const std::shared_ptr<degradation::ReplayActions>& actions);
    void read();
    void end_if_empty(bool found);

    const std::string name_;
    EventQueue& events_;
    LadderBroker& broker_;
    StreamServer& server_;
    const bool good_network_;
    SimProcess process_{events_};
    std::vector<std::unique_ptr<StreamLink>> streams_;  // one a life
    StreamLink* link_ = nullptr;
    std::unique_ptr<degradation::ReplayMachine> machine_;
    int found_nothing_ = 0;
};

}  // namespace hufu::simulation
