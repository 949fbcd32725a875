#include <hufu/outbox/seq_set.hpp>

#include <algorithm>

namespace hufu::outbox {

std::vector<Sequence> SeqSet::sorted(Sequence upto) const {
    std::vector<Sequence> chunks;
    chunks.reserve(words_.size());
    for (const auto& [chunk, word] : words_) {
        if (chunk <= (upto >> 6)) chunks.push_back(chunk);
    }
    std::sort(chunks.begin(), chunks.end());
    std::vector<Sequence> seqs;
    seqs.reserve(size_);
    for (const Sequence chunk : chunks) {
        for (std::uint64_t word = words_.at(chunk); word != 0; word &= word - 1) {
            const Sequence seq = (chunk << 6) + std::countr_zero(word);
            if (seq <= upto) seqs.push_back(seq);
        }
    }
    return seqs;
}

}  // namespace hufu::outbox
