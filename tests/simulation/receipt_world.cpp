#include "receipt_world.hpp"

#include <memory>

#include <hufu/core/ids.hpp>

#include "receipt_nodes.hpp"

namespace hufu::simulation {

using namespace std::chrono_literals;
using outbox::testing::MemoryBook;

namespace {

constexpr std::size_t messages_wanted = 60;
constexpr auto quiet_within = 300s;  // of virtual time, after the last fault
constexpr std::uint64_t steps_max = 2'000'000;

class ReceiptWorld {
public:
    ReceiptWorld(std::uint64_t seed, std::string* trace) : random_{seed}, events_{clock_, random_, trace} {
        const auto send = [this](const Message& message, std::function<void(PublishStatus)> told) {
            send_to_broker(message, std::move(told));
        };
        const auto check = [this](const Message& message) { check_resend(message); };
        for (int node = 0; node < 2; ++node)
            resenders_.push_back(std::make_unique<ResenderNode>(events_, book_, send, check));
        for (const char* group : {"stock", "points"}) {
            consumers_.push_back(std::make_unique<ReceiptConsumer>(
                group, events_, [this](const Message& receipt) { carry_receipt(receipt); }));
        }
        consumers_[1]->refuses = true;
        book_.on_completed = [this](const MessageId& id) { check_completed(id); };
    }

    ReceiptRunResult run() {
        for (auto& resender : resenders_) resender->start();
        append_soon();
        events_.between(5ms, 40ms, [this] { do_harm(); });
        events_.after(1ms, [this] { take_in(); });
        while (!healed_ && events_.steps() < steps_max && events_.step()) {
        }
        const SteadyTime deadline = events_.now() + quiet_within;
        while (!all_ended() && events_.now() < deadline && events_.steps() < steps_max && events_.step()) {
        }
        // What is sent after its end comes to light now.
        const SteadyTime after = events_.now() + 2s;
        while (events_.now() < after && events_.steps() < steps_max && events_.step()) {
        }
        judge();
        ReceiptRunResult result;
        result.steps = events_.steps();
        result.messages = book_.rows.size();
        result.crashes = crashes_;
        for (const auto& resender : resenders_) result.resent += resender->resent();
        result.violations = std::move(violations_);
        return result;
    }

private:
    void complain(const std::string& what) {
        if (violations_.size() < 20) violations_.push_back({"receipts", what});
    }

    // The sender: business transactions, the lane and its relay.

    void append_soon() {
        events_.between(1ms, 30ms, [this] {
            if (book_.rows.size() >= messages_wanted) return;
            Message message{
                .id = ids_.next(), .topic = "orders", .tag = random_.below(12) == 0 ? "refuse" : "", .body = "paid"};
            const outbox::Receipts asked{
                .groups = {"stock", "points"}, .deadline = 60ms, .backoff_cap = 200ms, .sends_max = 25};
            book_.append(message, asked);
            relay(book_.rows.at(message.id).message);
            append_soon();
        });
    }

    /// Publishes a lane row until the broker confirms, then settles it; dies in between now and then, and begins again.
    void relay(const Message& message) {
        events_.between(100us, 5ms, [this, message] {
            send_to_broker(message, [this, message](PublishStatus status) {
                if (status != PublishStatus::confirmed || (!healed_ && events_.chance(10))) return relay(message);
                events_.between(50us, 20ms, [this, message] { book_.start({&message.id, 1}); });
            });
        });
    }

    // The broker: takes, loses, repeats.

    void send_to_broker(const Message& message, std::function<void(PublishStatus)> told) {
        events_.between(50us, 3ms, [this, message, told = std::move(told)] {
            const bool away = events_.now() < away_until_;
            if (!away) accept(message);
            const bool answered = !away && (healed_ || !events_.chance(12));
            const PublishStatus status = answered ? PublishStatus::confirmed
                                         : away   ? PublishStatus::not_sent
                                                  : PublishStatus::in_doubt;
            events_.between(50us, 3ms, [told, status] { told(status); });
        });
    }

    /// Each group is to get it. What was confirmed may be lost all the same: a queue purged, a disk restored.
    void accept(const Message& message) {
        for (auto& consumer : consumers_) {
            if (!healed_ && events_.chance(5)) continue;
            const int copies = events_.chance(8) ? 2 : 1;
            for (int copy = 0; copy < copies; ++copy)
                events_.between(1ms, 250ms, [&consumer, message] { consumer->deliver(message); });
        }
    }

    // Receipts on their way back.

    void carry_receipt(const Message& receipt) {
        if (!healed_ && events_.chance(5)) return;
        const int copies = events_.chance(6) ? 2 : 1;
        for (int copy = 0; copy < copies; ++copy)
            events_.between(1ms, 200ms, [this, receipt] { arrived_.push_back(outbox::read_receipt(receipt).value()); });
    }

    void take_in() {
        const bool answer_lost = events_.chance(6);
        if (!arrived_.empty() && (healed_ || !events_.chance(6))) {
            book_.take(arrived_);
            if (!answer_lost) arrived_.clear();  // else the batch comes again, and changes nothing
        }
        events_.between(1ms, 15ms, [this] { take_in(); });
    }

    // Harm.

    void do_harm() {
        if (book_.rows.size() >= messages_wanted && crashes_ >= 12) {
            healed_ = true;
            for (auto& resender : resenders_)
                if (!resender->is_up()) resender->start();
            for (auto& consumer : consumers_) consumer->heal();
            return;
        }
        auto& resender = *resenders_[random_.below(2)];
        switch (random_.below(4)) {
            case 0:
                ++crashes_;
                consumers_[random_.below(2)]->crash();
                break;
            case 1:
                if (!resender.is_up()) break;
                ++crashes_;
                resender.kill();
                events_.between(1ms, 80ms, [&resender] {
                    if (!resender.is_up()) resender.start();
                });
                break;
            case 2: resender.pause(std::chrono::milliseconds{20 + random_.below(400)}); break;
            case 3:
                if (events_.chance(3)) away_until_ = events_.now() + std::chrono::milliseconds{50 + random_.below(10'000)};
                break;
        }
        events_.between(10ms, 120ms, [this] { do_harm(); });
    }

    // The promises.

    /// A re-send may begin only while a claim from before the confirmation is trusted.
    void check_resend(const Message& message) {
        const auto& row = book_.rows.at(message.id);
        if (row.state != "completed") return;
        const auto since = events_.system_now() - row.ended_at;
        if (since > ResenderNode::options().trust)
            complain(message.id.to_string() + " is sent again " +
                     std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(since).count()) +
                     " ms after its last receipt");
    }

    void check_completed(const MessageId& id) {
        for (const auto& consumer : consumers_) {
            if (!consumer->has_effect(id))
                complain(id.to_string() + " is confirmed without its effect in " + consumer->group());
        }
    }

    bool all_ended() {
        if (book_.rows.size() < messages_wanted) return false;
        for (const auto& [id, row] : book_.rows) {
            if (row.state != "completed" && !row.parked) return false;
        }
        return true;
    }

    void judge() {
        for (const auto& [id, row] : book_.rows) {
            const bool refused = row.message.tag == "refuse";
            if (row.state == "completed") {
                if (refused) complain(id.to_string() + " is confirmed though a group refused it");
            } else if (!row.parked) {
                complain(id.to_string() + " never ended, after " + std::to_string(row.sends) + " sends");
            } else if (!refused) {
                complain(id.to_string() + " is parked though nobody refused it: " + *row.parked);
            }
        }
        for (const auto& consumer : consumers_) {
            std::set<MessageId> seen;
            for (const auto& effect : consumer->database().effects()) {
                if (!seen.insert(effect.id).second)
                    complain(effect.id.to_string() + " has two effects in " + consumer->group());
            }
        }
    }

    SeededRandom random_;
    testing::FakeClock clock_{testing::FakeClock::Sleep::advances};
    EventQueue events_;
    MessageIdGenerator ids_{clock_, random_};
    MemoryBook book_{[this] { return events_.system_now(); }};
    std::vector<std::unique_ptr<ResenderNode>> resenders_;
    std::vector<std::unique_ptr<ReceiptConsumer>> consumers_;
    std::vector<outbox::Receipt> arrived_;
    std::vector<Violation> violations_;
    SteadyTime away_until_{};
    std::uint64_t crashes_ = 0;
    bool healed_ = false;
};

}  // namespace

ReceiptRunResult run_receipt_seed(std::uint64_t seed, std::string* trace) {
    return std::make_unique<ReceiptWorld>(seed, trace)->run();
}

}  // namespace hufu::simulation
