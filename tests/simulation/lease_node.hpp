// A process that runs effects under leases: several at once, renewed while they run, until it is paused or killed.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include <hufu/idempotency/lease_machine.hpp>

#include "event_queue.hpp"
#include "guard_judge.hpp"
#include "sim_redis.hpp"

namespace hufu::simulation {

class LeaseNode {
public:
    static constexpr std::chrono::milliseconds lease{300};

    LeaseNode(std::string name, EventQueue& events, SimRedis& redis, GuardJudge& judge)
        : name_{std::move(name)}, events_{events}, redis_{redis}, judge_{judge} {}

    void start();
    void kill();
    /// SIGSTOP for a while.
    void pause(EventQueue::Duration how_long);
    /// What runs now had no Redis for a good part of its lease.
    void disturb();
    [[nodiscard]] bool is_up() const { return up_; }

    /// A delivery; `answered` is called with whether it was acknowledged, and not at all if the process dies before.
    void deliver(int message, std::function<void(bool)> answered);

private:
    struct Attempt {
        idempotency::LeaseMachine machine;
        LeasedAttempt seen;
        std::string result;
        std::string name;  // for the trace
        std::function<void(bool)> answered;
        bool renewing = false;
    };
    using Shared = std::shared_ptr<Attempt>;

    /// After a wait, unless the process has died; a stopped one goes on when it may.
    void later(EventQueue::Duration low, EventQueue::Duration high, std::function<void()> event);
    void run_when_awake(std::uint64_t life, const std::function<void()>& event);
    /// To the server and back: `at_server` decides there, what it returns is done here.
    void ask(const Shared& attempt, std::function<std::function<void()>()> at_server);
    void advance(const Shared& attempt);
    void acquire(const Shared& attempt);
    void run_effect(const Shared& attempt);
    void complete(const Shared& attempt);
    void release(const Shared& attempt);
    void finish(const Shared& attempt);
    void renew_due();
    void fail(const Shared& attempt, Disposition disposition);

    std::string name_;
    EventQueue& events_;
    SimRedis& redis_;
    GuardJudge& judge_;
    std::set<Shared> running_;
    bool up_ = false;
    std::uint64_t life_ = 0;
    SteadyTime stopped_until_{};
    static inline constexpr EventQueue::Duration hop_least = std::chrono::microseconds{30};
    static inline constexpr EventQueue::Duration hop_most = std::chrono::microseconds{800};
    std::uint64_t attempts_ = 0;
};

}  // namespace hufu::simulation
