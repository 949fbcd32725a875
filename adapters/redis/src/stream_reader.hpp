// Takes entries out of a stream buffer.
#pragma once

#include <deque>
#include <mutex>
#include <string>
#include <unordered_set>
#include <vector>

#include <hufu/degradation/buffer.hpp>

#include "stream_impl.hpp"
#include "stream_position.hpp"

namespace hufu::redis {

class StreamReader final : public degradation::BufferReader {
public:
    StreamReader(StreamBuffer::Impl& buffer, std::string name);
    ~StreamReader() override;

    Result<std::vector<degradation::Entry>> read(std::size_t max, std::chrono::milliseconds timeout) override;
    Result<std::size_t> trim(std::span<const degradation::EntryId> entries) override;
    Result<void> park(std::span<const degradation::EntryId> entries, std::string_view reason) override;
    Result<void> release() override;

private:
    /// An entry that was read.
    struct Taken {
        Position at;
        std::string field;
        std::size_t bytes = 0;
        bool gone = false;      // from the server
        bool in_doubt = false;  // a trim of it was not answered
    };
    struct Shard {
        std::string token = {};     // empty: not ours
        std::string former = {};    // the last token: what the server may still hold for us
        Position cursor = {};       // read until here
        Position noted = {};        // what the server has as read until here
        Position read_before = {};  // by others, or by us before a release
        bool idle = false;          // the last read brought nothing
        std::unordered_set<std::string> barred = {};
        std::deque<Taken> taken = {};  // all of the stream from its beginning to the cursor, ascending, but for what is gone

        void lose() { *this = Shard{.former = token.empty() ? std::move(former) : std::move(token)}; }
        /// Calls `each` with those of `positions` (ascending) that were taken and are not gone.
        template <class Each>
        void for_each(std::span<const Position> positions, const Each& each);
        void forget(std::span<const Position> positions);
        /// How many of `asked` (ascending, all taken) have nothing but gone ones and each other in front of them.
        [[nodiscard]] std::size_t leading(std::span<const Position> asked) const;
        /// The cursor where the server should note it, else "".
        [[nodiscard]] std::string to_note() const { return cursor > noted ? cursor.text() : std::string{}; }
    };
    /// A shard that is asked for something, as it was then.
    struct Asked {
        std::uint32_t number = 0;
        std::string token = {};
        Position cursor = {};
        std::string note = {};
    };
    /// Positions of one shard that are to go, and the words of the script for it.
    struct Parcel {
        std::uint32_t number = 0;
        std::string token = {};
        Position cursor = {};
        std::vector<Position> positions = {};
        std::vector<std::string> words = {};
    };

    Result<void> acquire();
    Result<std::vector<degradation::Entry>> read_once(std::size_t max);
    [[nodiscard]] std::vector<Asked> owned();
    [[nodiscard]] std::vector<Result<Reply>> fetch(std::span<const Asked> asked, std::size_t count);
    Result<void> take(const Asked& asked, Reply page, std::vector<degradation::Entry>& out);
    /// By shard, ascending.
    [[nodiscard]] std::vector<std::vector<Position>> by_shard(std::span<const degradation::EntryId> entries);
    [[nodiscard]] std::vector<Parcel> parcels(const std::vector<std::vector<Position>>& sorted, std::size_t at);
    [[nodiscard]] Result<std::size_t> send(std::span<const Parcel> parcels);
    Result<void> park_shard(std::uint32_t shard, const std::string& token, std::span<const Position> positions,
                            std::string_view reason);
    void lose_all();

    StreamBuffer::Impl& buffer_;
    const std::string name_;
    const std::string lease_;
    std::mutex mutex_;           // not held while the server is asked
    std::vector<Shard> shards_;  // guarded by mutex_
    SteadyTime acquire_again_ = SteadyTime::min();
};

}  // namespace hufu::redis
