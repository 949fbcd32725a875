#include "roles/ladder_page.hpp"

#include <boost/json.hpp>
#include <utility>

namespace shop {
namespace {

std::string page_of(const hufu::degradation::LadderStatus& status) {
    boost::json::array rungs;
    for (std::size_t i = 0; i < status.rungs.size(); ++i) {
        const auto& rung = status.rungs[i];
        rungs.push_back(boost::json::object{{"name", rung.name},
                                            {"entries", rung.size.entries},
                                            {"parked", rung.size.parked},
                                            {"spilled", status.figures.spilled.at(i)}});
    }
    return boost::json::serialize(boost::json::object{{"way", status.way},
                                                      {"degraded", status.degraded},
                                                      {"confirmed", status.figures.confirmed},
                                                      {"refused", status.figures.refused},
                                                      {"replayed", status.replayed},
                                                      {"rungs", std::move(rungs)}});
}

}  // namespace

HttpApplication with_ladder_page(HttpApplication application, const hufu::degradation::BufferingPublisher& ladder) {
    return [application = std::move(application), &ladder](const HttpRequest& request) -> HttpResponse {
        if (request.method == "GET" && request.target == "/ladder") return {.body = page_of(ladder.status())};
        return application(request);
    };
}

}  // namespace shop
