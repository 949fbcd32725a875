// The Log's face: opening, names, state.
#include <hufu/broker/log.hpp>

#include <hufu/core/assert.hpp>

#include "log/impl.hpp"

namespace hufu::broker {

Log::Log(std::unique_ptr<Impl> impl) noexcept : impl_{std::move(impl)} {}
Log::~Log() = default;

namespace {

/// Performs all that waits, here and now: opening returns with the new epoch on disk.
Result<void> settle(Log& log) {
    while (log.busy()) {
        if (auto* group = log.take_group()) {
            auto done = Log::write(*group);
            if (done) done = Log::sync(*group);
            if (!done) return done;
            log.completed(group);
        } else if (auto chore = log.take_chore()) {
            chore->run();
            log.finished(std::move(chore));
            if (log.refusing()) return *log.refusing();
        } else {
            return Error{ErrorCode::unavailable, Disposition::retry, "the log has no segment to begin in"};
        }
    }
    return {};
}

}  // namespace

Result<std::unique_ptr<Log>> Log::open(Directory& directory, const LogOptions& options, Clock& clock) {
    HUFU_ASSERT(options.record_bytes_max < record_bytes_limit);
    auto lock = directory.lock();
    if (!lock) {
        if (lock.error().code() == ErrorCode::busy) {
            return Error{ErrorCode::busy, Disposition::fatal,
                         "another broker is running in \"" + directory.path() + "\"; stop it, or choose another folder"};
        }
        return lock.error();
    }
    auto impl = std::make_unique<Impl>(directory, options, clock);
    impl->lock = std::move(*lock);
    if (auto recovered = impl->recover(); !recovered) return recovered.error();
    std::unique_ptr<Log> log{new Log{std::move(impl)}};
    if (auto settled = settle(*log); !settled) return settled.error();
    return log;
}

const LogRecovery& Log::recovery() const noexcept { return impl_->recovered; }
const std::vector<Damage>& Log::damages() const noexcept { return impl_->damages; }
const std::optional<Error>& Log::refusing() const noexcept { return impl_->refusing; }
std::uint64_t Log::durable_offset() const noexcept { return impl_->durable; }
std::uint64_t Log::start_offset() const noexcept { return impl_->start; }
std::optional<SteadyTime> Log::next_chore_at() const noexcept { return impl_->retry_at; }

std::uint64_t Log::bytes_on_disk() const noexcept {
    auto bytes = impl_->write_position - impl_->active.base;
    for (const auto& segment : impl_->sealed) bytes += segment->end - segment->base;
    return bytes;
}

// Queues.

QueueHandle Log::open_queue(std::string_view topic, std::int32_t queue_id) {
    if (const auto found = find_queue(topic, queue_id)) return *found;
    HUFU_ASSERT(!topic.empty());
    auto& log = *impl_;
    const auto number = static_cast<std::uint32_t>(log.queues.size());
    auto& queue = log.queues.emplace_back();
    queue.topic = topic;
    queue.queue_id = queue_id;
    ++log.unannounced;
    log.unannounced_bytes += name_bytes(queue);
    log.queue_names[queue.topic][queue_id] = number;
    return QueueHandle{number};
}

std::optional<QueueHandle> Log::find_queue(std::string_view topic, std::int32_t queue_id) const {
    const auto found = impl_->queue_names.find(topic);
    if (found == impl_->queue_names.end()) return std::nullopt;
    const auto queue = found->second.find(queue_id);
    if (queue == found->second.end()) return std::nullopt;
    return QueueHandle{queue->second};
}

std::uint32_t Log::queue_count() const noexcept { return static_cast<std::uint32_t>(impl_->queues.size()); }

Log::QueueName Log::queue_name(QueueHandle queue) const {
    HUFU_ASSERT(queue.value < impl_->queues.size());
    return {impl_->queues[queue.value].topic, impl_->queues[queue.value].queue_id};
}

std::uint64_t Log::max_offset(QueueHandle queue) const {
    HUFU_ASSERT(queue.value < impl_->queues.size());
    return impl_->queues[queue.value].durable_next;
}

std::uint64_t Log::min_offset(QueueHandle queue) const {
    HUFU_ASSERT(queue.value < impl_->queues.size());
    return first_kept(impl_->queues[queue.value]);
}

// State.

void Log::Impl::remember_state(std::string_view key, std::string_view value) {
    const auto found = state.find(key);
    if (found == state.end()) {
        state.emplace(key, value);
        state_bytes += key.size() + value.size();
    } else {
        state_bytes = state_bytes + value.size() - found->second.size();
        found->second = value;
    }
}

void Log::Impl::forget_state(std::string_view key) {
    const auto found = state.find(key);
    if (found == state.end()) return;
    state_bytes -= found->first.size() + found->second.size();
    state.erase(found);
}

Result<std::uint64_t> Log::put_state(std::string_view key, std::string_view value) {
    auto ticket = impl_->append_system(RecordKind::state_put, encode_strings(key, value));
    if (ticket) impl_->remember_state(key, value);
    return ticket;
}

Result<std::uint64_t> Log::erase_state(std::string_view key) {
    auto ticket = impl_->append_system(RecordKind::state_erase, encode_strings(key, {}));
    if (ticket) impl_->forget_state(key);
    return ticket;
}

std::optional<std::string_view> Log::state(std::string_view key) const {
    const auto found = impl_->state.find(key);
    if (found == impl_->state.end()) return std::nullopt;
    return found->second;
}

void Log::for_each_state(std::string_view prefix,
                         const std::function<void(std::string_view key, std::string_view value)>& visit) const {
    for (auto entry = impl_->state.lower_bound(prefix); entry != impl_->state.end() && entry->first.starts_with(prefix);
         ++entry) {
        visit(entry->first, entry->second);
    }
}

}  // namespace hufu::broker
