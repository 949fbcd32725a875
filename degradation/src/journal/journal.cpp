#include <hufu/degradation/journal.hpp>

#include <algorithm>
#include <set>
#include <utility>

#include "journal/journal_impl.hpp"

namespace hufu::degradation {
namespace {

/// A group grows until it is so large; then the next one begins.
constexpr std::size_t group_bytes = std::size_t{1} << 20U;

Error refuse_option(const std::string& option, const std::string& value, const std::string& rule) {
    return Error{ErrorCode::invalid_argument, Disposition::reject, option + " = " + value + ": " + rule};
}

}  // namespace

Result<void> validate(const JournalOptions& options) {
    if (options.segment_bytes < 4096) {
        return refuse_option("segment_bytes", std::to_string(options.segment_bytes), "at least 4096 are needed");
    }
    if (options.disk_bytes_max < options.segment_bytes) {
        return refuse_option("disk_bytes_max", std::to_string(options.disk_bytes_max), "must hold one segment at least");
    }
    if (options.entries_max == 0) return refuse_option("entries_max", "0", "nothing could ever be spilled");
    if (options.age_max.count() < 0) return refuse_option("age_max", "negative", "0 means any age");
    if (options.queued_bytes_max == 0) return refuse_option("queued_bytes_max", "0", "nothing could ever be spilled");
    return {};
}

Journal::Impl::Impl(std::unique_ptr<Directory> in, const JournalOptions& wanted, Clock& with,
                    std::unique_ptr<journal::Store> opened)
    : folder{std::move(in)}, options{wanted}, clock{with}, store{std::move(opened)} {
    writer = std::jthread{[this] { write_until_stopped(); }};
}

Journal::Impl::~Impl() {
    {
        const std::lock_guard lock{mutex};
        stopping = true;
        work.notify_all();
    }
    writer.join();  // after it wrote what was queued
}

void Journal::Impl::spill(std::span<const Message> messages, SpillWhen when, std::span<SpillOutcome> outcomes, Done done) {
    using Status = SpillOutcome::Status;
    const SystemTime now = clock.system_now();
    Request request;
    request.outcomes = outcomes;
    request.done = std::move(done);
    std::set<std::uint64_t> stopped;  // keys of which a message of this call is not spilled
    std::set<std::uint64_t> ahead;    // keys that messages of this call bar
    {
        const std::lock_guard lock{mutex};
        for (std::size_t i = 0; i < messages.size(); ++i) {
            const std::uint64_t key = journal::key_hash(messages[i].topic, messages[i].ordering_key);
            if (key != 0 && stopped.contains(key)) {
                outcomes[i] = {Status::refused,
                               {ErrorCode::cancelled, Disposition::retry, "an earlier message of its key was not spilled"}};
                continue;
            }
            if (when == SpillWhen::if_key_is_buffered && (key == 0 || !(is_barred(key) || ahead.contains(key)))) {
                outcomes[i] = {Status::not_buffered, {}};
                continue;
            }
            std::string payload = journal::encode_entry(messages[i], key, now);
            if (auto room = has_room(request.payloads.size(), request.bytes + payload.size()); !room) {
                outcomes[i] = {Status::refused, room.error()};
                if (key != 0) stopped.insert(key);
                continue;
            }
            request.bytes += payload.size();
            request.payloads.push_back(std::move(payload));
            request.keys.push_back(key);
            if (when == SpillWhen::if_key_is_buffered) ahead.insert(key);
            request.places.push_back(i);
        }
        if (!request.payloads.empty()) {
            for (const auto key : request.keys) {
                if (key != 0) ++on_way[key];
            }
            queued_entries += request.payloads.size();
            queued_bytes += request.bytes;
            requests.push_back(std::move(request));
            work.notify_one();
            return;
        }
    }
    request.done();
}

bool Journal::Impl::is_barred(std::uint64_t key) const { return on_way.contains(key) || store->holds(key); }

std::uint64_t Journal::Impl::barred_keys() {
    const std::lock_guard lock{mutex};
    return on_way.size() + store->levels().keys;
}

Result<void> Journal::Impl::has_room(std::size_t entries, std::size_t bytes) const {
    const auto levels = store->levels();
    const auto full = [&](ErrorCode code, const std::string& what) {
        return Error{
            code, Disposition::retry,
            "journal \"" + folder->path() + "\" is full: " + what + "; bring the broker back, or replay it elsewhere"};
    };
    if (queued_bytes + bytes > options.queued_bytes_max) {
        return full(ErrorCode::busy, std::to_string(queued_bytes) + " bytes wait for the disk (queued_bytes_max)");
    }
    if (levels.entries + levels.parked + queued_entries + entries >= options.entries_max) {
        return full(ErrorCode::out_of_space, std::to_string(levels.entries) + " entries (entries_max)");
    }
    if (levels.disk_bytes + queued_bytes + bytes > options.disk_bytes_max) {
        return full(ErrorCode::out_of_space, std::to_string(levels.disk_bytes) + " bytes (disk_bytes_max)");
    }
    if (const auto oldest = store->oldest();
        options.age_max.count() > 0 && oldest && clock.system_now() - *oldest > options.age_max) {
        return full(ErrorCode::out_of_space, "its oldest entry is older than age_max");
    }
    return {};
}

Result<void> Journal::Impl::note(journal::Batch::Mark mark) {
    if (mark.entries.empty()) return {};
    Note waiting{.mark = std::move(mark)};
    std::unique_lock lock{mutex};
    notes.push_back(&waiting);
    work.notify_one();
    written.wait(lock, [&] { return waiting.done; });
    return waiting.result;
}

bool Journal::Impl::take(journal::Batch& batch, std::vector<Request>& taken, std::vector<Note*>& asked) {
    std::unique_lock lock{mutex};
    work.wait(lock, [&] { return stopping || !requests.empty() || !notes.empty(); });
    if (requests.empty() && notes.empty()) return false;
    for (Note* one : std::exchange(notes, {})) {
        batch.marks.push_back(one->mark);
        asked.push_back(one);
    }
    std::size_t bytes = 0;
    while (!requests.empty() && (taken.empty() || bytes + requests.front().bytes <= group_bytes)) {
        bytes += requests.front().bytes;
        taken.push_back(std::move(requests.front()));
        requests.pop_front();
        for (auto& payload : std::exchange(taken.back().payloads, {})) batch.entries.push_back(std::move(payload));
    }
    return true;
}

void Journal::Impl::write_until_stopped() {
    for (;;) {
        journal::Batch batch;
        std::vector<Request> taken;
        std::vector<Note*> asked;
        if (!take(batch, taken, asked)) return;
        const auto outcome = store->write(batch);
        Result<void> noted = outcome.result;
        if (!noted && !batch.marks.empty() && !batch.entries.empty()) {
            // What was replayed frees the disk; it must not fail because new entries do not fit.
            batch.entries.clear();
            noted = store->write(batch).result;
        }
        finish(taken, outcome);
        const std::lock_guard lock{mutex};
        for (Note* one : asked) {
            one->result = noted;
            one->done = true;
        }
        written.notify_all();
    }
}

void Journal::Impl::finish(std::vector<Request>& taken, const journal::Store::Written& outcome) {
    {
        const std::lock_guard lock{mutex};
        if (!outcome.result) {
            // Later messages of a key must not get in where an earlier one did not.
            for (auto& request : std::exchange(requests, {})) taken.push_back(std::move(request));
        }
        for (const Request& request : taken) {
            queued_entries -= request.places.size();
            queued_bytes -= request.bytes;
            for (const auto key : request.keys) {
                if (key == 0) continue;
                if (const auto at = on_way.find(key); --at->second == 0) on_way.erase(at);
            }
        }
    }
    for (Request& request : taken) {
        if (outcome.result) {
            for (const auto place : request.places) request.outcomes[place] = {SpillOutcome::Status::spilled, {}};
        } else {
            refuse(request, outcome.result.error(), outcome.certain || !request.payloads.empty());
        }
        request.done();
    }
}

/// A request whose payloads were never taken is refused for certain.
void Journal::Impl::refuse(Request& request, const Error& error, bool certain) {
    for (const auto place : request.places) {
        request.outcomes[place] = {certain ? SpillOutcome::Status::refused : SpillOutcome::Status::in_doubt,
                                   {error.code(), certain ? Disposition::retry : Disposition::in_doubt, error.text()}};
    }
}

Result<std::unique_ptr<Journal>> Journal::open(std::unique_ptr<Directory> folder, JournalOptions options, Clock& clock) {
    validate(options).value();
    auto store = journal::Store::open(*folder, options);
    if (!store) return store.error();
    return std::unique_ptr<Journal>{
        new Journal{std::make_unique<Impl>(std::move(folder), options, clock, std::move(*store))}};
}

Journal::Journal(std::unique_ptr<Impl> impl) : impl_{std::move(impl)} {}
Journal::~Journal() = default;

std::string Journal::describe() const { return "journal:" + impl_->folder->path(); }

Result<LossStatement> Journal::inspect() {
    return LossStatement{Loss::nothing,
                         "fdatasync before each answer: survives the end of the process and of the system, not the loss of "
                         "the disk; order per key holds among the messages of this process"};
}

void Journal::spill(std::span<const Message> messages, SpillWhen when, std::span<SpillOutcome> outcomes, Done done) {
    impl_->spill(messages, when, outcomes, std::move(done));
}

void Journal::epoch(OnEpoch on_epoch) { on_epoch(impl_->barred_keys()); }

Result<BufferSize> Journal::size() {
    const auto levels = impl_->store->levels();
    BufferSize size{.entries = levels.entries, .bytes = levels.bytes, .parked = levels.parked};
    if (const auto oldest = impl_->store->oldest()) {
        const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(impl_->clock.system_now() - *oldest);
        size.oldest_age = std::max(age, std::chrono::milliseconds{0});
    }
    return size;
}

Result<std::vector<bool>> Journal::holds(std::span<const ConsumerKey> keys) {
    const std::lock_guard lock{impl_->mutex};
    std::vector<bool> answers;
    for (const auto& key : keys) {
        const auto hash = journal::key_hash(key.topic, key.ordering_key);
        answers.push_back(hash != 0 && impl_->is_barred(hash));
    }
    return answers;
}

Result<void> Journal::browse(Shelf shelf, const std::function<bool(const Entry&)>& see) {
    const auto kind = shelf == Shelf::parked ? journal::Store::Kind::parked : journal::Store::Kind::live;
    for (journal::Cursor cursor;;) {
        const auto page = impl_->store->read(cursor, 1'000, kind);
        if (!page) return page.error();
        if (page->empty()) return {};
        for (const auto& stored : *page) {
            auto entry = entry_of(stored);
            if (!entry) return entry.error();
            if (shelf == Shelf::parked) entry->reason = impl_->store->reason_of_parked(stored.reference.sequence);
            if (!see(*entry)) return {};
        }
    }
}

Result<std::uint64_t> Journal::unpark() {
    std::uint64_t count = 0;
    for (journal::Cursor cursor;;) {
        const auto page = impl_->store->read(cursor, 1'000, journal::Store::Kind::parked);
        if (!page) return page.error();
        if (page->empty()) return count;
        journal::Batch::Mark mark{.kind = journal::FrameKind::unpark};
        for (const auto& stored : *page) mark.entries.push_back(stored.reference);
        if (auto noted = impl_->note(std::move(mark)); !noted) return noted.error();
        count += page->size();
    }
}

std::unique_ptr<BufferReader> Journal::reader(std::string) { return make_reader(*impl_); }

std::uint64_t Journal::given_up() const noexcept { return impl_->store->given_up(); }

}  // namespace hufu::degradation
