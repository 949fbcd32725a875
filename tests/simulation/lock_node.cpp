#include "lock_node.hpp"

namespace hufu::simulation {

using namespace std::chrono_literals;
using idempotency::FencingToken;
using idempotency::LockAction;

namespace {

constexpr EventQueue::Duration hop_least = 30us;
constexpr EventQueue::Duration hop_most = 800us;

Error lost() { return {ErrorCode::fenced, Disposition::retry, "lost"}; }
Error gone() { return {ErrorCode::unavailable, Disposition::retry, "the session was ended"}; }

}  // namespace

AccountDatabase::TransactionId AccountDatabase::begin() {
    open_[++last_].active = events_.now();
    return last_;
}

AccountDatabase::Open* AccountDatabase::find(TransactionId transaction) {
    const auto found = open_.find(transaction);
    if (found == open_.end()) return nullptr;
    // `idle_in_transaction_session_timeout`, which carrying a token sets.
    if (found->second.token && events_.now() - found->second.active > stall) {
        open_.erase(found);
        return nullptr;
    }
    return &found->second;
}

std::optional<Result<void>> AccountDatabase::carry(TransactionId transaction, FencingToken token) {
    Open* mine = find(transaction);
    if (mine == nullptr) return Result<void>{gone()};
    for (auto other = open_.begin(); other != open_.end();) {
        const auto id = other->first;
        const bool has_fence = other->second.has_fence;
        ++other;
        if (id != transaction && has_fence && find(id) != nullptr) return std::nullopt;
    }
    mine->active = events_.now();
    if (token.value < newest_token_) return Result<void>{idempotency::older_token("account", token, {newest_token_})};
    mine->has_fence = true;
    mine->token = token.value;
    return Result<void>{};
}

bool AccountDatabase::read(TransactionId transaction) {
    Open* mine = find(transaction);
    if (mine == nullptr) return false;
    mine->active = events_.now();
    mine->read = balance_;
    return true;
}

bool AccountDatabase::write(TransactionId transaction) {
    Open* mine = find(transaction);
    if (mine == nullptr) return false;
    mine->active = events_.now();
    mine->written = mine->read + 1;
    return true;
}

bool AccountDatabase::commit(TransactionId transaction) {
    Open* mine = find(transaction);
    if (mine == nullptr) return false;
    if (mine->written) {
        if (mine->read != balance_) complain_("an update of the account was lost: a holder that was too slow overwrote it");
        balance_ = *mine->written;
        ++updates_;
    }
    if (mine->token) newest_token_ = std::max(newest_token_, *mine->token);
    open_.erase(transaction);
    return true;
}

void LockNode::start() {
    up_ = true;
    ++life_;
    begin_one();
}

void LockNode::kill() {
    up_ = false;
    ++life_;
    stopped_until_ = {};
}

void LockNode::later(EventQueue::Duration low, EventQueue::Duration high, std::function<void()> event) {
    events_.between(low, high, [this, life = life_, event = std::move(event)] { run_when_awake(life, event); });
}

void LockNode::run_when_awake(std::uint64_t life, const std::function<void()>& event) {
    if (life != life_) return;
    if (events_.now() < stopped_until_) {
        events_.at(stopped_until_, [this, life, event] { run_when_awake(life, event); });
        return;
    }
    event();
}

void LockNode::begin_one() {
    later(1ms, 20ms, [this] {
        auto update = std::make_shared<Update>();
        update->secret = std::to_string(events_.random().next());
        advance(update);
    });
}

void LockNode::answer(const Shared& update, bool good, const char* what) {
    if (good) {
        update->machine.done();
    } else {
        update->machine.failed(Error{ErrorCode::unavailable, Disposition::retry, what});
    }
    later(hop_least, hop_most, [this, update] { advance(update); });
}

void LockNode::advance(const Shared& update) {
    auto& machine = update->machine;
    switch (machine.next()) {
        case LockAction::acquire: return acquire(update);
        case LockAction::begin: update->transaction = account_.begin(); return answer(update, true, "");
        case LockAction::carry_token: {
            const auto carried = account_.carry(*update->transaction, update->token);
            if (!carried) return later(1ms, 5ms, [this, update] { advance(update); });
            *carried ? machine.done() : machine.failed(carried->error());
            return later(hop_least, hop_most, [this, update] { advance(update); });
        }
        case LockAction::run_effect: return run_effect(update);
        case LockAction::check_lock: return check_lock(update);
        case LockAction::commit: return answer(update, account_.commit(*update->transaction), "not committed");
        case LockAction::roll_back: account_.roll_back(*update->transaction); return answer(update, true, "");
        case LockAction::finished:
            update->lost = true;  // nothing is renewed any more
            events_.between(hop_least, hop_most, [this, secret = update->secret] {
                if (!redis_.away()) redis_.unlock(secret);
            });
            return begin_one();
    }
}

void LockNode::acquire(const Shared& update) {
    const SteadyTime asked = events_.now();
    later(hop_least, hop_most, [this, update, asked] {
        if (redis_.away()) return answer(update, false, "no answer");
        const auto token = redis_.lock(update->secret, lease);
        if (!token) return later(2ms, 10ms, [this, update] { acquire(update); });
        later(hop_least, hop_most, [this, update, asked, token] {
            update->token = *token;
            update->trust_until = asked + lease;
            renew_now_and_then(update);
            answer(update, true, "");
        });
    });
}

void LockNode::renew(const Shared& update, std::function<void(bool known)> after) {
    const SteadyTime asked = events_.now();
    later(hop_least, hop_most, [this, update, asked, after = std::move(after)] {
        if (redis_.away()) return after(false);
        const bool held = redis_.renew_lock(update->secret, lease);
        later(hop_least, hop_most, [update, asked, held, after] {
            if (held) {
                update->trust_until = asked + lease;
            } else {
                update->lost = true;
            }
            after(true);
        });
    });
}

void LockNode::renew_now_and_then(const Shared& update) {
    later(lease / 3, lease / 3, [this, update] {
        if (update->lost) return;
        renew(update, [this, update](bool) { renew_now_and_then(update); });
    });
}

void LockNode::run_effect(const Shared& update) {
    if (!account_.read(*update->transaction)) return answer_effect(update, false);
    later(100us, 10ms, [this, update] { answer_effect(update, account_.write(*update->transaction)); });
}

void LockNode::answer_effect(const Shared& update, bool good) {
    if (good) {
        update->machine.returned(Handled::done);
    } else {
        update->machine.returned({Handled::retry, {}, gone().text()});
    }
    later(hop_least, hop_most, [this, update] { advance(update); });
}

void LockNode::check_lock(const Shared& update) {
    if (!update->lost && events_.now() < update->trust_until) return answer(update, true, "");
    renew(update, [this, update](bool known) { answer(update, known && !update->lost, lost().text().c_str()); });
}

}  // namespace hufu::simulation
