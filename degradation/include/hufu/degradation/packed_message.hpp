// A message as bytes, as buffers keep it: nothing of it is lost on the way through.
#pragma once

#include <string>
#include <string_view>

#include <hufu/core/error.hpp>
#include <hufu/core/message.hpp>

namespace hufu::degradation {

/// Appends the packed form: a version byte, then the fields in the order of `Message`, each text with its length before it
/// (32 bits), numbers little-endian. `deliver_at` keeps microseconds. Reads back equal.
void pack(const Message& message, std::string& out);

/// Reads all of `bytes`. `corrupt`/reject for a version it does not know and for anything that is cut, longer than its
/// fields, or larger than it says.
[[nodiscard]] Result<Message> unpack(std::string_view bytes);

}  // namespace hufu::degradation
