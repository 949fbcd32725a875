#include "journal_link.hpp"

#include <set>

namespace hufu::simulation {

using namespace std::chrono_literals;
using degradation::Entry;
using degradation::EntryId;
using degradation::SpillOutcome;
using degradation::SpillWhen;
namespace journal = degradation::journal;

namespace {

const degradation::JournalOptions options{.segment_bytes = 8192, .reserve_bytes = 4096};  // small: files come and go

}  // namespace

template <class Answer>
void JournalLink::answer(const Told<Answer>& told, Result<Answer> what) {
    process_.after(20us, [told, what = std::move(what)] { told(what); });
}

void JournalLink::open() {
    auto opened = Store::open(disk_.directory(), options);
    if (!opened) {
        ledger_.complain("the journal does not open: " + opened.error().text());
        return;
    }
    store_ = std::move(*opened);
}

void JournalLink::close() {
    store_.reset();
    requests_.clear();
    notes_.clear();
    on_way_.clear();
    writing_ = false;
    cursor_ = {};
    ahead_.clear();
    taken_.clear();
    power_fails_ = nullptr;
}

bool JournalLink::empty() const {
    const auto levels = store_->levels();
    return levels.entries + levels.parked + levels.keys == 0;
}

void JournalLink::inspect(Told<degradation::LossStatement> told) {
    answer<degradation::LossStatement>(told, degradation::LossStatement{degradation::Loss::nothing, "synced"});
}

void JournalLink::size(Told<degradation::BufferSize> told) {
    const auto levels = store_->levels();
    answer<degradation::BufferSize>(
        told, degradation::BufferSize{.entries = levels.entries, .bytes = levels.bytes, .parked = levels.parked});
}

void JournalLink::epoch(Told<std::uint64_t> told) {
    answer<std::uint64_t>(told, std::uint64_t{on_way_.size() + store_->levels().keys});
}

void JournalLink::spill(std::vector<Message> messages, SpillWhen when, std::function<void(Outcomes)> told) {
    Request request;
    request.outcomes.resize(messages.size());
    std::set<std::uint64_t> ahead;  // keys that messages of this call bar
    for (std::size_t place = 0; place < messages.size(); ++place) {
        const Message& message = messages[place];
        const auto key = journal::key_hash(message.topic, message.ordering_key);
        if (when == SpillWhen::if_key_is_buffered && (key == 0 || !(is_barred(key) || ahead.contains(key)))) {
            request.outcomes[place] = {.status = SpillOutcome::Status::not_buffered};
            continue;
        }
        ahead.insert(key);
        request.payloads.push_back(journal::encode_entry(message, key, events_.system_now()));
        request.keys.push_back(key);
        request.places.push_back(place);
        events_.note("to the journal: ", message.body);
    }
    if (request.payloads.empty()) {
        process_.after(20us, [told = std::move(told), outcomes = std::move(request.outcomes)] { told(outcomes); });
        return;
    }
    for (const auto key : request.keys) {
        if (key != 0) ++on_way_[key];
    }
    request.told = std::move(told);
    requests_.push_back(std::move(request));
    write_soon();
}

void JournalLink::holds(std::vector<ConsumerKey> keys, Told<std::vector<bool>> told) {
    std::vector<bool> held;
    for (const auto& key : keys) {
        const auto hash = journal::key_hash(key.topic, key.ordering_key);
        held.push_back(hash != 0 && is_barred(hash));
    }
    answer<std::vector<bool>>(told, held);
}

void JournalLink::parked(Told<std::vector<Message>> told) {
    std::vector<Message> messages;
    for (journal::Cursor cursor;;) {
        const auto page = store_->read(cursor, 100, Store::Kind::parked);
        if (!page) return answer<std::vector<Message>>(told, page.error());
        if (page->empty()) return answer<std::vector<Message>>(told, messages);
        for (const auto& stored : *page) messages.push_back(journal::message_of(stored.payload).value());
    }
}

void JournalLink::unpark(Told<std::uint64_t> told) {
    Note note;
    note.mark.kind = journal::FrameKind::unpark;
    for (journal::Cursor cursor;;) {
        const auto page = store_->read(cursor, 100, Store::Kind::parked);
        if (!page || page->empty()) break;
        for (const auto& stored : *page) note.mark.entries.push_back(stored.reference);
    }
    if (note.mark.entries.empty()) return answer<std::uint64_t>(told, std::uint64_t{0});
    note.told = [told = std::move(told)](const Result<std::size_t>& noted) {
        told(noted ? Result<std::uint64_t>{*noted} : noted.error());
    };
    notes_.push_back(std::move(note));
    write_soon();
}

void JournalLink::read(std::size_t max, Told<std::vector<Entry>> told) {
    if (ahead_.empty()) {
        auto page = store_->read(cursor_, max);
        if (!page) {
            ledger_.complain("the journal cannot be read: " + page.error().text());
            return answer<std::vector<Entry>>(told, page.error());
        }
        ahead_.assign(std::make_move_iterator(page->begin()), std::make_move_iterator(page->end()));
    }
    std::vector<Entry> entries;
    for (; !ahead_.empty() && entries.size() < max; ahead_.pop_front()) {
        const auto& stored = ahead_.front();
        const std::string position = std::to_string(stored.reference.sequence);
        Message message = journal::message_of(stored.payload).value();
        taken_[position] = {stored.reference, message.id};
        entries.push_back({{0, position}, std::move(message), journal::facts_of(stored.payload).spilled_at});
    }
    answer<std::vector<Entry>>(told, std::move(entries));
}

std::vector<JournalLink::Reference> JournalLink::references_of(const std::vector<EntryId>& entries) const {
    std::vector<Reference> references;
    for (const EntryId& id : entries) references.push_back(taken_.at(id.position).first);
    return references;
}

void JournalLink::trim(std::vector<EntryId> entries, Told<std::size_t> told) {
    for (const EntryId& id : entries) ledger_.trimmed(taken_.at(id.position).second, "the journal");
    notes_.push_back({{journal::FrameKind::trim, references_of(entries), {}}, std::move(told)});
    write_soon();
}

void JournalLink::park(std::vector<EntryId> entries, std::string reason, Told<std::size_t> told) {
    notes_.push_back({{journal::FrameKind::park, references_of(entries), std::move(reason)}, std::move(told)});
    write_soon();
}

void JournalLink::release(std::function<void()> told) {
    cursor_ = {};
    ahead_.clear();
    process_.after(20us, std::move(told));
}

void JournalLink::write_soon() {
    if (std::exchange(writing_, true)) return;
    process_.after(100us + std::chrono::microseconds{events_.random().below(3000)}, [this] { write_group(); });
}

void JournalLink::write_group() {
    writing_ = false;
    journal::Batch batch;
    std::vector<Request> taken{std::make_move_iterator(requests_.begin()), std::make_move_iterator(requests_.end())};
    requests_.clear();
    std::vector<Note> asked = std::exchange(notes_, {});
    for (const Note& note : asked) batch.marks.push_back(note.mark);
    for (Request& request : taken) {
        for (auto& payload : request.payloads) batch.entries.push_back(std::move(payload));
    }
    const bool power_fails = power_fails_ != nullptr;
    if (power_fails) disk_.fail_nth(DiskCall::sync, 1);  // what it had written by then is chance
    const auto written = store_->write(batch);
    if (power_fails) return std::exchange(power_fails_, nullptr)();  // this process is gone
    if (!written.result) failed_at_ = events_.now();
    Result<void> noted = written.result;
    if (!noted && !batch.marks.empty() && !batch.entries.empty()) {
        // What was replayed frees the disk; it must not fail because new entries do not fit.
        batch.entries.clear();
        noted = store_->write(batch).result;
    }
    finish(std::move(taken), written);
    for (const Note& note : asked) {
        answer<std::size_t>(note.told,
                            noted ? Result<std::size_t>{note.mark.entries.size()} : Result<std::size_t>{noted.error()});
    }
}

void JournalLink::finish(std::vector<Request> taken, const Store::Written& written) {
    for (Request& request : taken) {
        for (const auto key : request.keys) {
            if (key == 0) continue;
            if (const auto at = on_way_.find(key); --at->second == 0) on_way_.erase(at);
        }
        for (const auto place : request.places) {
            if (written.result) {
                request.outcomes[place] = {.status = SpillOutcome::Status::spilled};
                continue;
            }
            const Error& error = written.result.error();
            request.outcomes[place] = {
                written.certain ? SpillOutcome::Status::refused : SpillOutcome::Status::in_doubt,
                {error.code(), written.certain ? Disposition::retry : Disposition::in_doubt, error.text()}};
        }
        process_.after(20us, [told = std::move(request.told), outcomes = std::move(request.outcomes)] { told(outcomes); });
    }
}

}  // namespace hufu::simulation
