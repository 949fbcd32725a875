// What a replay would do.
#include <hufu/degradation/replayer.hpp>

#include <set>

namespace hufu::degradation {

Result<ReplayPreview> preview(Buffer& source, const ReplayFilter& filter) {
    ReplayPreview found;
    std::set<ConsumerKey> parked;
    std::set<ConsumerKey> left;
    const auto key_of = [](const Entry& entry) { return ConsumerKey{entry.message.topic, entry.message.ordering_key}; };
    auto seen = source.browse(Buffer::Shelf::parked, [&](const Entry& entry) {
        ++found.parked;
        if (!entry.message.ordering_key.empty()) parked.insert(key_of(entry));
        return true;
    });
    if (!seen) return seen.error();
    seen = source.browse(Buffer::Shelf::waiting, [&](const Entry& entry) {
        const bool has_key = !entry.message.ordering_key.empty();
        if (!filter.matches(entry)) {
            ++found.filtered;
            if (has_key) left.insert(key_of(entry));
        } else if (has_key && left.contains(key_of(entry))) {
            ++found.behind;
        } else if (has_key && parked.contains(key_of(entry))) {
            ++found.parked;
        } else {
            ++found.matching;
            found.matching_bytes += entry.message.body.size();
            ++found.topics[entry.message.topic];
        }
        return true;
    });
    if (!seen) return seen.error();
    return found;
}

}  // namespace hufu::degradation
