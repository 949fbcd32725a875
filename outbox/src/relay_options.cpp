#include <hufu/outbox/relay_actions.hpp>

namespace hufu::outbox {
namespace {

Error refused(const std::string& text) { return {ErrorCode::invalid_argument, Disposition::reject, "relay: " + text}; }
std::string ms(std::chrono::milliseconds value) { return std::to_string(value.count()) + " ms"; }

}  // namespace

Result<void> validate(const RelayOptions& options) {
    using std::to_string;
    if (options.lease.count() <= 0 || options.lease_margin.count() < 0 || options.lease_margin >= options.lease) {
        return refused("lease_margin (" + ms(options.lease_margin) + ") must be shorter than lease (" + ms(options.lease) +
                       ")");
    }
    if (options.renew_every.count() <= 0 || options.renew_every >= options.lease - options.lease_margin) {
        return refused("renew_every (" + ms(options.renew_every) + ") must be shorter than lease - lease_margin (" +
                       ms(options.lease - options.lease_margin) + ")");
    }
    if (options.page_rows == 0 || options.window_rows < options.page_rows || options.window_bytes == 0) {
        return refused("window_rows (" + to_string(options.window_rows) + ") must hold at least one page (page_rows " +
                       to_string(options.page_rows) + "), and window_bytes must be positive");
    }
    if (options.settle_rows == 0 || options.settle_rows_max < options.settle_rows) {
        return refused("settle_rows (" + to_string(options.settle_rows) + ") must be from 1 to settle_rows_max (" +
                       to_string(options.settle_rows_max) + ")");
    }
    if (options.publish_rows == 0 || options.parked_rows == 0)
        return refused("publish_rows and parked_rows must be positive");
    if (options.poll_min.count() <= 0 || options.poll_max < options.poll_min) {
        return refused("poll_min (" + ms(options.poll_min) + ") must be positive and at most poll_max (" +
                       ms(options.poll_max) + ")");
    }
    return options.resend_unconfirmed ? validate(options.receipts) : Result<void>{};
}

}  // namespace hufu::outbox
