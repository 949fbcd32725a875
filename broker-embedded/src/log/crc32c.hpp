// The log's checksum is core's.
#pragma once

#include <hufu/core/crc32c.hpp>

namespace hufu::broker {

using hufu::crc32c;
using hufu::crc32c_portable;

}  // namespace hufu::broker
