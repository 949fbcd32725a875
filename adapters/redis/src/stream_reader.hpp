// Takes entries out of a stream buffer.
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <hufu/degradation/buffer.hpp>

#include "stream_impl.hpp"

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
    struct Taken {
        std::string field;
        std::size_t bytes = 0;
    };
    struct Shard {
        std::string token = {};   // empty: not ours
        std::string former = {};  // the last token: what the server may still hold for us
        std::string cursor = {};  // of what an earlier owner had taken; empty: that is done
        std::unordered_set<std::string> barred = {};
        std::unordered_map<std::string, Taken> taken = {};  // by position
        void lose() { *this = Shard{.former = token.empty() ? std::move(former) : std::move(token)}; }
    };
    using Parcel = std::vector<std::pair<std::string, std::string>>;  // position, reason

    Result<void> acquire();
    void start_anew();
    Result<std::vector<degradation::Entry>> read_once(std::size_t max);
    Result<void> take(std::uint32_t shard, const Reply& reply, std::vector<degradation::Entry>& out);
    [[nodiscard]] std::vector<std::uint32_t> owned() const;
    /// Positions by shard, of those that are ours.
    [[nodiscard]] std::vector<std::vector<std::string>> by_shard(std::span<const degradation::EntryId> entries) const;
    [[nodiscard]] Result<std::size_t> trim_shards(std::span<const std::uint32_t> numbers,
                                                  std::span<const std::span<const std::string>> parts);
    Result<void> park_shard(std::uint32_t shard, std::span<const std::string> positions, std::string_view reason);

    StreamBuffer::Impl& buffer_;
    const std::string name_;
    const std::string lease_;
    std::vector<Shard> shards_;
    SteadyTime acquire_again_ = SteadyTime::min();
};

}  // namespace hufu::redis
