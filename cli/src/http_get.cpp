#include "http_get.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace hufu::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

struct Place {
    std::string host = {};
    std::string port = "80";
    std::string path = "/";
};

Result<Place> place_of(const std::string& url) {
    constexpr std::string_view scheme = "http://";
    std::string_view rest = url;
    if (!rest.starts_with(scheme)) {
        return Error{ErrorCode::invalid_argument, Disposition::reject,
                     "\"" + url + "\" is no address of metrics: write http://HOST:PORT/metrics"};
    }
    rest.remove_prefix(scheme.size());
    Place place;
    if (const auto slash = rest.find('/'); slash != std::string_view::npos) {
        place.path = rest.substr(slash);
        rest = rest.substr(0, slash);
    }
    const auto colon = rest.rfind(':');
    place.host = rest.substr(0, colon);
    if (colon != std::string_view::npos) place.port = rest.substr(colon + 1);
    if (place.host.empty() || place.port.empty()) {
        return Error{ErrorCode::invalid_argument, Disposition::reject, "\"" + url + "\" names no host or port"};
    }
    return place;
}

}  // namespace

Result<std::string> http_get(const std::string& url, std::chrono::milliseconds timeout) {
    const auto place = place_of(url);
    if (!place) return place.error();
    asio::io_context context;
    beast::tcp_stream stream{context};
    beast::error_code problem;
    asio::ip::tcp::resolver resolver{context};
    const auto addresses = resolver.resolve(place->host, place->port, problem);
    beast::flat_buffer buffer;
    http::request<http::empty_body> request{http::verb::get, place->path, 11};
    request.set(http::field::host, place->host);
    http::response_parser<http::string_body> answer;
    answer.body_limit(16U << 20);
    if (!problem) {
        // Asynchronous, because only then does the stream's time-out count.
        stream.expires_after(timeout);
        stream.async_connect(addresses, [&](beast::error_code error, const auto&) {
            problem = error;
            if (error) return;
            http::async_write(stream, request, [&](beast::error_code write_error, std::size_t) {
                problem = write_error;
                if (write_error) return;
                http::async_read(stream, buffer, answer,
                                 [&](beast::error_code read_error, std::size_t) { problem = read_error; });
            });
        });
        context.run();
    }
    if (problem == http::error::body_limit) {
        return Error{ErrorCode::too_large, Disposition::reject, "\"" + url + "\" answers with more than 16 MiB"};
    }
    if (problem) {
        const bool late = problem == beast::error::timeout;
        return Error{late ? ErrorCode::timeout : ErrorCode::unavailable, Disposition::retry,
                     "\"" + url + "\": " + problem.message()};
    }
    if (answer.get().result() != http::status::ok) {
        return Error{
            ErrorCode::protocol, Disposition::reject,
            "\"" + url + "\" answers " + std::to_string(answer.get().result_int()) + ": is it the metrics' address?"};
    }
    return std::move(answer.get().body());
}

}  // namespace hufu::cli
