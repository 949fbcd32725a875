#include <hufu/txmsg/producer.hpp>

#include <algorithm>
#include <utility>

namespace hufu::txmsg {
namespace {

void check_name(const std::string& name, std::string_view what) {
    constexpr std::string_view allowed = "%|abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    if (name.empty() || name.size() > 100 || name.find_first_not_of(allowed) != std::string::npos) {
        throw Exception{Error{ErrorCode::invalid_argument, Disposition::reject,
                              std::string{what} + " \"" + name + "\": use 1 to 100 characters of [%|a-zA-Z0-9_-]"}};
    }
}

}  // namespace

Producer::Producer(HalfPublisher& halves, VerdictStore& store, ProducerOptions options, Clock& clock, Random& random)
    : halves_{halves}, store_{store}, options_{std::move(options)}, clock_{clock}, ids_{clock, random} {
    check_name(options_.group, "producer group");
    store_uuid_ = store.uuid().value();
    if (options_.metrics != nullptr) {
        const char* names[] = {"committed", "rolled_back", "in_doubt"};
        for (std::size_t i = 0; i < std::size(names); ++i) {
            outcomes_[i] = &options_.metrics->counter("hufu_tx_sends_total", "Transaction messages sent, by their outcome",
                                                      {{"group", options_.group}, {"outcome", names[i]}});
        }
        unanswered_ends_ = &options_.metrics->counter(
            "hufu_tx_unanswered_ends_total", "Decided transactions whose END no broker answered: check-back settles them",
            {{"group", options_.group}});
    }
    if (options_.responder) {
        auto responder = *options_.responder;
        responder.group = options_.group;
        responder.metrics = options_.metrics;
        responder_ = std::make_unique<Responder>(halves, &store, std::move(responder), clock);
    }
}

Producer::~Producer() = default;

TransactionResult Producer::send(std::vector<Message> messages, LocalTransaction& transaction,
                                 const std::function<Decision()>& local, const SendOptions& options) {
    make_halves(messages, ids_).value();
    if (!options.handler.empty()) {
        check_name(options.handler, "handler");
    }
    HalfContext context{ids_.next(), options_.group, options.handler, store_uuid_, options.first_check_after};
    auto result = run_transaction(ProducerMachine{std::move(context), options_.rules}, halves_, messages, transaction,
                                  store_, local, clock_, options.stop);
    count(result);
    return result;
}

void Producer::count(const TransactionResult& result) {
    if (unanswered_ends_ == nullptr) {
        return;
    }
    outcomes_[static_cast<std::size_t>(result.state)]->add();
    if (result.state != TransactionResult::State::in_doubt && result.end.state == EndOutcome::State::unknown) {
        unanswered_ends_->add();
    }
}

}  // namespace hufu::txmsg
