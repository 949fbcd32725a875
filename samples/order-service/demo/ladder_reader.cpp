#include "ladder_reader.hpp"

#include <boost/json.hpp>
#include <chrono>
#include <stdexcept>

#include "http/client.hpp"

namespace shop::demo {

Ladder parse_ladder(const std::string& page) {
    boost::system::error_code failed;
    const auto value = boost::json::parse(page, failed);
    if (failed || !value.is_object()) throw std::runtime_error{"GET /ladder gave no JSON object: " + page.substr(0, 200)};
    const auto& object = value.get_object();
    Ladder ladder{.refused = object.at("refused").to_number<std::uint64_t>(), .degraded = object.at("degraded").as_bool()};
    for (const auto& rung : object.at("rungs").as_array()) {
        ladder.entries += rung.at("entries").to_number<std::uint64_t>() + rung.at("parked").to_number<std::uint64_t>();
        ladder.spilled.push_back(rung.at("spilled").to_number<std::uint64_t>());
    }
    return ladder;
}

Ladder read_ladder(std::uint16_t port) {
    HttpClient client{"127.0.0.1", port, std::chrono::seconds{10}};
    return parse_ladder(client.send({"GET", "/ladder", ""}).value().body);
}

}  // namespace shop::demo
