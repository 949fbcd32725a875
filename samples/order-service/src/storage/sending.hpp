// What a transaction message's result means to a service.
#pragma once

#include <hufu/txmsg/producer_machine.hpp>

namespace shop {

/// True if committed. False if `kept` is: the local transaction took itself back. Throws `hufu::Exception` otherwise, as
/// `Store::send` says.
[[nodiscard]] bool settled(const hufu::txmsg::TransactionResult& result, bool kept);

}  // namespace shop
