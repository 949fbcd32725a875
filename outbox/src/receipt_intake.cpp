#include <hufu/outbox/receipt_intake.hpp>

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace hufu::outbox {

struct ReceiptIntake::Impl {
    Store& store;
    Subscription& subscription;
    IntakeOptions options;
    Clock& clock;
    Random& random;
    Log* log;
    std::array<Counter*, receipt_verdicts> verdicts = {};
    Counter& malformed;
    Counter& store_errors;

    /// Those of `deliveries` that are receipts.
    std::vector<Receipt> read(const std::vector<Delivery>& deliveries) {
        std::vector<Receipt> receipts;
        receipts.reserve(deliveries.size());
        for (const Delivery& delivery : deliveries) {
            auto receipt = read_receipt(delivery.message);
            if (receipt) {
                receipts.push_back(std::move(*receipt));
                continue;
            }
            malformed.add();
            if (log != nullptr) log->warning("passed over what is no receipt", {{"error", receipt.error().text()}});
        }
        return receipts;
    }

    void count(const std::vector<Receipt>& receipts, const std::vector<ReceiptVerdict>& answers) {
        for (std::size_t at = 0; at < answers.size(); ++at) {
            verdicts[static_cast<std::size_t>(answers[at])]->add();
            const bool unknown =
                answers[at] == ReceiptVerdict::unknown_group || answers[at] == ReceiptVerdict::unknown_message;
            if (unknown && log != nullptr) {
                log->info("passed over a receipt that nobody here waits for", {{"message", receipts[at].message.to_string()},
                                                                               {"group", receipts[at].group},
                                                                               {"verdict", to_string(answers[at])}});
            }
        }
    }

    /// Until the book has them. False: the stop came first. An error: it never will.
    Result<bool> take(AwaitingRows& rows, const std::vector<Receipt>& receipts, const std::stop_token& stop) {
        for (std::uint32_t failures = 0; !stop.stop_requested();) {
            auto answers = rows.take(receipts);
            if (answers) {
                count(receipts, *answers);
                return true;
            }
            const Error& why = answers.error();
            if (why.disposition() == Disposition::fatal || why.disposition() == Disposition::reject) return why;
            store_errors.add();
            if (failures++ == 0 && log != nullptr) log->warning("receipts wait for the database", {{"error", why.text()}});
            const auto pause = options.store_retry.wait_after(failures, random).value_or(std::chrono::milliseconds{2'000});
            clock.sleep_until(clock.steady_now() + pause, stop);
        }
        return false;
    }
};

ReceiptIntake::ReceiptIntake(Store& store, Subscription& subscription, IntakeOptions options, Clock& clock, Random& random,
                             MetricsRegistry& metrics, Log* log)
    : impl_{new Impl{
          .store = store,
          .subscription = subscription,
          .options = std::move(options),
          .clock = clock,
          .random = random,
          .log = log,
          .malformed =
              metrics.counter("hufu_receipts_malformed_total", "Messages on the receipts topic that are no receipts."),
          .store_errors = metrics.counter("hufu_receipts_intake_errors_total", "Batches of receipts not taken at first."),
      }} {
    for (std::size_t verdict = 0; verdict < receipt_verdicts; ++verdict) {
        impl_->verdicts[verdict] =
            &metrics.counter("hufu_receipts_total", "Receipts that came in, by what became of them.",
                             {{"verdict", std::string{to_string(static_cast<ReceiptVerdict>(verdict))}}});
    }
}

ReceiptIntake::~ReceiptIntake() = default;

Result<void> ReceiptIntake::run(std::stop_token stop) {
    Impl& self = *impl_;
    const auto rows = self.store.awaiting_rows();
    while (!stop.stop_requested()) {
        auto received = self.subscription.receive(self.options.batch, self.options.wait, stop);
        if (!received) return received.error();
        (void)self.subscription.lost_queues();  // what was lost comes to another member too, and changes nothing twice
        if (received->empty()) continue;
        const auto receipts = self.read(*received);
        if (!receipts.empty()) {
            const auto taken = self.take(*rows, receipts, stop);
            if (!taken) return taken.error();
            if (!*taken) return {};
        }
        std::vector<DeliveryTag> tags;
        tags.reserve(received->size());
        for (const Delivery& delivery : *received) tags.push_back(delivery.tag);
        self.subscription.acknowledge(tags);
    }
    return {};
}

}  // namespace hufu::outbox
