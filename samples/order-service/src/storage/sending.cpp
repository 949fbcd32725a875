#include "storage/sending.hpp"

namespace shop {

bool settled(const hufu::txmsg::TransactionResult& result, bool kept) {
    using State = hufu::txmsg::TransactionResult::State;
    if (result.state == State::committed) return true;
    if (result.state == State::rolled_back && !kept) return false;
    if (result.state == State::in_doubt) {
        throw hufu::Exception{{hufu::ErrorCode::unavailable, hufu::Disposition::in_doubt,
                               "the outcome of the commit is not known yet: " + result.error.text()}};
    }
    throw hufu::Exception{result.error};
}

}  // namespace shop
