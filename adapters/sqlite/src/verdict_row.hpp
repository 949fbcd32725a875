// The row that a local transaction inserts first.
#pragma once

#include <hufu/sqlite/database.hpp>
#include <hufu/txmsg/half_publisher.hpp>

namespace hufu::sqlite {

/// Throws `conflict` when the transaction must not commit any more: a tombstone is there, or its id is older than the
/// verdicts that are kept.
void open_verdict(Transaction& tx, const txmsg::TransactionId& transaction);

}  // namespace hufu::sqlite
