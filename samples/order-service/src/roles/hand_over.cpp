#include "roles/hand_over.hpp"

#include <future>
#include <utility>

#include <hufu/core/error.hpp>

namespace shop {

std::mutex& HandOver::place_of(const std::string& order_id) {
    return places_[std::hash<std::string>{}(order_id) % places_.size()];
}

std::vector<hufu::Message> HandOver::owed_by(const std::string& order_id) {
    const std::scoped_lock lock{mutex_};
    const auto found = owed_.find(order_id);
    return found == owed_.end() ? std::vector<hufu::Message>{} : found->second;
}

void HandOver::owe(const std::string& order_id, std::vector<hufu::Message> messages) {
    const std::scoped_lock lock{mutex_};
    if (messages.empty()) {
        owed_.erase(order_id);
    } else {
        owed_[order_id] = std::move(messages);
    }
}

void HandOver::settle(const std::string& order_id) {
    auto messages = owed_by(order_id);
    if (messages.empty()) return;
    std::vector<hufu::PublishOutcome> outcomes(messages.size());
    std::promise<void> done;
    publisher_.publish(messages, outcomes, [&done] { done.set_value(); });
    done.get_future().wait();
    std::size_t taken = 0;  // what was taken of one key is a beginning of it
    while (taken < outcomes.size() && outcomes[taken].status == hufu::PublishStatus::confirmed) ++taken;
    messages.erase(messages.begin(), messages.begin() + static_cast<std::ptrdiff_t>(taken));
    const bool all = messages.empty();
    owe(order_id, std::move(messages));
    if (all) return;
    throw hufu::Exception{
        {hufu::ErrorCode::unavailable, hufu::Disposition::retry,
         "order " + order_id + " is changed, but nobody takes its messages: " + outcomes[taken].error.text()}};
}

void HandOver::turn(const std::string& order_id, const std::function<std::vector<hufu::Message>()>& commit) {
    const std::scoped_lock turn{place_of(order_id)};
    settle(order_id);
    auto messages = commit();
    for (auto& message : messages) message.id = ids_.next();
    owe(order_id, std::move(messages));
    settle(order_id);
}

hufu::Handler HandOver::in_turn(hufu::Handler handler) {
    return [this, handler = std::move(handler)](const hufu::Delivery& delivery) -> hufu::HandlerResult {
        const std::scoped_lock turn{place_of(delivery.message.ordering_key)};
        try {
            settle(delivery.message.ordering_key);
        } catch (const hufu::Exception& owed) {
            return {hufu::Handled::retry, owed.error().text()};
        }
        return handler(delivery);
    };
}

}  // namespace shop
