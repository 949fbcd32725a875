// The journal's thread and what waits for it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include <hufu/degradation/journal.hpp>

#include "journal/store.hpp"

namespace hufu::degradation {

/// One thread writes and syncs; whatever came meanwhile shares the next sync.
struct Journal::Impl {
    Impl(std::unique_ptr<Directory> in, const JournalOptions& wanted, Clock& with, std::unique_ptr<journal::Store> opened);
    ~Impl();

    /// One call of `spill` on its way.
    struct Request {
        std::vector<std::string> payloads = {};
        std::vector<std::uint64_t> keys = {};
        std::vector<std::size_t> places = {};  // of the payloads among the outcomes
        std::span<SpillOutcome> outcomes = {};
        Done done = {};
        std::size_t bytes = 0;
    };
    /// One trim, park or unpark that its caller waits for.
    struct Note {
        journal::Batch::Mark mark = {};
        Result<void> result = {};
        bool done = false;
    };

    void spill(std::span<const Message> messages, SpillWhen when, std::span<SpillOutcome> outcomes, Done done);
    [[nodiscard]] Result<void> note(journal::Batch::Mark mark);
    [[nodiscard]] std::uint64_t barred_keys();

    // With mutex.
    [[nodiscard]] bool is_barred(std::uint64_t key) const;
    /// For one more, behind `entries` of the same call; `bytes` with it.
    [[nodiscard]] Result<void> has_room(std::size_t entries, std::size_t bytes) const;

    void write_until_stopped();
    [[nodiscard]] bool take(journal::Batch& batch, std::vector<Request>& requests, std::vector<Note*>& notes);
    void finish(std::vector<Request>& requests, const journal::Store::Written& written);
    static void refuse(Request& request, const Error& error, bool certain);

    const std::unique_ptr<Directory> folder;
    const JournalOptions options;
    Clock& clock;
    const std::unique_ptr<journal::Store> store;

    std::mutex mutex;
    std::condition_variable work;     // something to write, or the end
    std::condition_variable written;  // notes are done, entries are there, the reader's place is free
    std::deque<Request> requests;     // guarded by mutex
    std::deque<Note*> notes;          // guarded by mutex
    std::unordered_map<std::uint64_t, std::uint32_t> on_way;  // key -> its messages that are not in the store yet
    std::size_t queued_entries = 0;                           // guarded by mutex
    std::size_t queued_bytes = 0;                             // guarded by mutex
    const void* reader = nullptr;                             // who reads; guarded by mutex
    std::uint64_t read_until = 0;                             // highest sequence that was read; guarded by mutex
    bool stopping = false;                                    // guarded by mutex
    std::jthread writer;
};

[[nodiscard]] EntryId id_of(const journal::Reference& reference);
[[nodiscard]] std::vector<journal::Reference> references_of(std::span<const EntryId> entries);
[[nodiscard]] Result<Entry> entry_of(const journal::StoredEntry& stored);
[[nodiscard]] std::unique_ptr<BufferReader> make_reader(Journal::Impl& journal);

}  // namespace hufu::degradation
