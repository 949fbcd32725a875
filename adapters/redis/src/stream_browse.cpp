// Looks at what waits in the streams, taking nothing.
#include <hufu/redis/stream_buffer.hpp>

#include "stream_impl.hpp"
#include "stream_position.hpp"

namespace hufu::redis {
namespace {

constexpr std::size_t page_entries = 1'000;

}  // namespace

Result<void> StreamBuffer::browse(Shelf shelf, const std::function<bool(const degradation::Entry&)>& see) {
    const std::string stream = shelf == Shelf::parked ? ":parked" : ":entries";
    for (std::uint32_t shard = 0; shard < impl_->bases.size(); ++shard) {
        for (std::string from = "-";;) {
            const auto page =
                impl_->client.run(Command{"XRANGE", impl_->bases[shard] + stream, from, "+", "COUNT", page_entries});
            if (!page) return page.error();
            for (const Reply& item : page->items) {
                if (item.items.size() != 2) continue;
                Contents found = contents_of(item);
                const degradation::Entry entry{.id = {shard, item.items[0].text},
                                               .message = std::move(found.message),
                                               .spilled_at = Position::of(item.items[0].text).time(),
                                               .reason = std::move(found.reason)};
                if (!see(entry)) return {};
            }
            if (page->items.size() < page_entries) break;
            from = "(" + page->items.back().items[0].text;
        }
    }
    return {};
}

}  // namespace hufu::redis
