// How the ladder of a service is doing, over HTTP.
#pragma once

#include <hufu/degradation/buffering_publisher.hpp>

#include "http/message.hpp"

namespace shop {

/// Answers `GET /ladder` and leaves everything else to `application`. `ladder` is borrowed.
/// {"way": where the next message goes, "degraded", "confirmed": by the broker, "refused", "replayed", "rungs": [{"name",
/// "entries": waiting there now, "parked", "spilled": so far}]}
[[nodiscard]] HttpApplication with_ladder_page(HttpApplication application,
                                               const hufu::degradation::BufferingPublisher& ladder);

}  // namespace shop
