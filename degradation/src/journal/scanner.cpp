#include "journal/scanner.hpp"

#include <algorithm>

namespace hufu::degradation::journal {
namespace {

constexpr std::size_t read_bytes = 1U << 20U;

}  // namespace

GroupScanner::GroupScanner(const File& file, std::uint32_t segment, std::uint64_t position, std::uint64_t end,
                           std::uint32_t group_before, From from)
    : file_{file}, segment_{segment}, end_{end}, from_{from}, begin_{position}, position_{position}, group_{group_before} {}

Result<bool> GroupScanner::next() { return read_here(); }

Result<bool> GroupScanner::skip_damage() {
    for (position_ += sector_bytes; position_ < end_; position_ += sector_bytes) {
        auto found = read_here();
        if (!found || *found) return found;
    }
    position_ = end_;
    return false;
}

Result<bool> GroupScanner::read_here() {
    frames_.clear();
    for (std::size_t wanted = sizeof(FrameHeader);;) {
        const auto bytes = view(wanted);
        if (!bytes) return bytes.error();
        std::size_t used = 0;
        std::size_t short_by = 0;
        auto frames = read_group(*bytes, segment_, group_, used, short_by);
        if (!frames.empty()) {
            frames_ = std::move(frames);
            group_ = frames_.front().header.group;
            begin_ = position_;
            position_ += used;
            return true;
        }
        if (short_by == 0 || position_ + bytes->size() >= end_) return false;
        wanted = bytes->size() + std::max(short_by, read_bytes);
    }
}

Result<std::string_view> GroupScanner::view(std::size_t bytes) {
    const std::uint64_t left = end_ > position_ ? end_ - position_ : 0;
    const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, left));
    const bool inside = position_ >= buffer_at_ && position_ - buffer_at_ + wanted <= buffer_.size();
    if (!inside) {
        const std::size_t load = static_cast<std::size_t>(std::min<std::uint64_t>(std::max(bytes, read_bytes), left));
        buffer_.resize(load);
        buffer_at_ = position_;
        const auto into = std::as_writable_bytes(std::span{buffer_});
        const auto count = from_ == From::disk ? file_.read_durable_at(position_, into) : file_.read_at(position_, into);
        if (!count) return count.error();
        buffer_.resize(*count);
    }
    const auto all = std::string_view{buffer_}.substr(static_cast<std::size_t>(position_ - buffer_at_));
    return all.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(all.size(), left)));
}

}  // namespace hufu::degradation::journal
