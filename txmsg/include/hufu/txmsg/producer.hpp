// What the producers of all databases share: ids, options, the responder, figures.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <hufu/core/clock.hpp>
#include <hufu/core/ids.hpp>
#include <hufu/core/metrics.hpp>
#include <hufu/core/random.hpp>
#include <hufu/txmsg/responder.hpp>
#include <hufu/txmsg/transaction.hpp>

namespace hufu::txmsg {

struct ProducerOptions {
    std::string group = {};  ///< the service's name towards brokers: all its processes have the same one
    ProducerRules rules = {};
    /// Who answers checks of `group` in this process; its `group` and `metrics` are taken from here. Unset: this producer
    /// answers none (another one, or a `Responder` of your own, does).
    std::optional<ResponderOptions> responder = ResponderOptions{};
    MetricsRegistry* metrics = nullptr;  ///< hufu_tx_sends_total, by group and outcome; outlives the producer
};

/// What one send goes by.
struct SendOptions {
    std::string handler = {};  ///< who of the group answers checks (`ResponderOptions::handlers` or `checkers`)
    std::optional<std::chrono::seconds> first_check_after = {};  ///< longer than this local transaction usually takes
    std::stop_token stop = {};  ///< ends waiting and repeating early; check-back settles what is left
};

/// The part of a producer that is the same for every database. Thread-safe: sends run side by side.
class Producer {
public:
    /// Borrows all. Throws as `Responder` does, and `invalid_argument` for a group that brokers refuse.
    Producer(HalfPublisher& halves, VerdictStore& store, ProducerOptions options, Clock& clock, Random& random);
    ~Producer();

    /// Throws `invalid_argument` for messages that no broker takes (nothing has happened then), and what `local` throws.
    [[nodiscard]] TransactionResult send(std::vector<Message> messages, LocalTransaction& transaction,
                                         const std::function<Decision()>& local, const SendOptions& options);

private:
    void count(const TransactionResult& result);

    HalfPublisher& halves_;
    VerdictStore& store_;
    const ProducerOptions options_;
    Clock& clock_;
    MessageIdGenerator ids_;
    std::string store_uuid_;
    std::unique_ptr<Responder> responder_;
    Counter* outcomes_[3] = {};  // by TransactionResult::State
    Counter* unanswered_ends_ = nullptr;
};

}  // namespace hufu::txmsg
