// Which half goes where, which END is said how often, and whose questions are heard. No thread, no socket.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <hufu/rocketmq/half_publisher.hpp>

#include "cluster.hpp"
#include "half_place.hpp"
#include "topic_queues.hpp"

namespace hufu::rocketmq {

/// One call of `prepare`.
struct HalfJob {
    txmsg::HalfContext context;
    std::span<const Message> messages;
    std::span<txmsg::HalfOutcome> outcomes;
    txmsg::HalfPublisher::Done done;
    std::size_t open = 0;  // outcomes not yet final
};

/// One call of `end`.
struct EndJob {
    txmsg::HalfContext context;
    std::span<const txmsg::Half> halves;
    txmsg::Verdict verdict = txmsg::Verdict::unknown;
    std::string reason;
    txmsg::EndOutcome* outcome = nullptr;
    txmsg::HalfPublisher::Done done;
    SteadyTime deadline{};
    std::size_t open = 0;  // places that have not answered
    bool any = false;      // `outcome` holds the word of one
};

/// The producer group of `context` as brokers know it.
[[nodiscard]] std::string wire_group(const std::string& group, const std::string& handler);

/// `invalid_argument` when brokers would not take it.
[[nodiscard]] Result<void> check_group(const std::string& group, const std::string& handler);

class HalfMachine {
public:
    using OnCheck = std::function<void(txmsg::Check check)>;

    HalfMachine(Cluster& cluster, HalfPublisherOptions options, Clock& clock, Log& log);

    void prepare(SteadyTime now, std::shared_ptr<HalfJob> job);
    void end(SteadyTime now, std::shared_ptr<EndJob> job);

    /// Replaces what `group` serves; `handlers` empty and `on_check` set: the group itself. `registered` is called once,
    /// when every broker that can be reached has heard.
    void serve(SteadyTime now, const std::string& group, const std::vector<std::string>& handlers, OnCheck on_check,
               std::function<void()> registered);
    /// What a check's answer says. Not repeated: a broker that missed it asks again.
    void answer(SteadyTime now, const txmsg::HalfContext& context, const txmsg::Half& half, txmsg::Verdict verdict,
                std::string_view reason);

    /// Calls whose outcomes are final, to be told so.
    [[nodiscard]] std::vector<txmsg::HalfPublisher::Done> take_finished() { return std::exchange(finished_, {}); }

    void link(SteadyTime now, const std::string& address, bool up);
    void request(SteadyTime now, const std::string& address, const remoting::CommandView& command);
    void tick(SteadyTime now);
    [[nodiscard]] std::optional<SteadyTime> next_tick() const noexcept;
    /// Ends everything: what was sent is in doubt, the rest not sent.
    void close();

private:
    enum class Kind : std::uint8_t { unknown, asked, bundled, rocketmq, secretive };
    struct Item {
        std::shared_ptr<HalfJob> job;
        std::size_t index = 0;
        SteadyTime deadline{};
        bool sent = false;
        [[nodiscard]] const Message& message() const { return job->messages[index]; }
    };
    using ItemPtr = std::shared_ptr<Item>;
    struct Topic {
        std::string name;
        std::vector<QueueAt> queues = {};  // empty until the route is known
        std::vector<ItemPtr> unrouted = {};
        std::size_t round_robin = 0;
        bool looking_up = false;
        SteadyTime lookup_at{};
    };
    struct Ending {
        std::shared_ptr<EndJob> job;
        HalfPlace place;
        std::string topic;
        std::chrono::milliseconds wait{};  // before the next repetition
        SteadyTime again_at = SteadyTime::max();
    };
    using EndingPtr = std::shared_ptr<Ending>;
    struct Served {
        std::string group;
        std::string handler;
        std::shared_ptr<OnCheck> on_check;
    };

    // half_machine.cpp
    [[nodiscard]] Result<void> check(const HalfJob& job, const Message& message) const;
    void look_up(SteadyTime now, Topic& topic);
    void looked_up(SteadyTime now, Topic& topic, Result<remoting::TopicRoute> route, bool from_template);
    void dispatch(SteadyTime now, Topic& topic, const ItemPtr& item);
    [[nodiscard]] const QueueAt& choose(Topic& topic, const Message& message);
    void ask_kind(SteadyTime now, const std::string& address);
    void send(SteadyTime now, const QueueAt& at, const ItemPtr& item);
    [[nodiscard]] std::string encode(const QueueAt& at, const Item& item, std::int32_t opaque);
    void landed(const QueueAt& at, const ItemPtr& item, const Answer& answer);
    void finish(const ItemPtr& item, PublishStatus status, Error error = {});
    void expire(SteadyTime now);

    // half_end.cpp
    void say(SteadyTime now, const EndingPtr& ending);
    void answered(SteadyTime now, const EndingPtr& ending, const Answer& answer);
    void repeat_or(SteadyTime now, const EndingPtr& ending, Error error);
    void conclude(const EndingPtr& ending, txmsg::EndOutcome said);
    [[nodiscard]] txmsg::EndOutcome outcome_of(const Ending& ending, const remoting::CommandView& answer) const;

    // half_checks.cpp
    void find_brokers(SteadyTime now, std::function<void()> found);
    void beat(SteadyTime now, const std::string& address, std::function<void()> answered);
    [[nodiscard]] std::optional<txmsg::Check> read_check(const std::string& address, const remoting::CommandView& command,
                                                         std::shared_ptr<OnCheck>& on_check) const;

    Cluster& cluster_;
    HalfPublisherOptions options_;
    Clock& clock_;
    Log& log_;
    std::map<std::string, Topic, std::less<>> topics_;
    std::map<std::string, Kind> kinds_;  // by address
    std::map<std::string, std::vector<std::pair<QueueAt, ItemPtr>>> until_kind_;
    std::set<ItemPtr> items_;      // not final
    std::set<EndingPtr> endings_;  // not final
    std::map<std::string, Served> served_;
    std::set<std::string> brokers_;  // that hear of what is served
    std::vector<txmsg::HalfPublisher::Done> finished_;
    std::string properties_;  // scratch
    SteadyTime heartbeat_at_{};
    bool closed_ = false;
};

}  // namespace hufu::rocketmq
