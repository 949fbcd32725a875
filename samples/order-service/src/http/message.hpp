// A request and a response, free of any HTTP library.
#pragma once

#include <functional>
#include <string>

namespace shop {

struct HttpRequest {
    std::string method = {};
    std::string target = {};  ///< path, as sent
    std::string body = {};
    std::string key = {};  ///< sent as `idempotency-key` by the client; a server's application never sees it
};

struct HttpResponse {
    unsigned status = 200;
    std::string body = {};   ///< JSON
    std::string allow = {};  ///< methods of this path; sent with 405
    bool replayed = false;   ///< the stored answer to a repeated request; sent as `idempotent-replayed: true`
};

/// Answers one request. Called from several threads at once; what it throws becomes a 500.
using HttpApplication = std::function<HttpResponse(const HttpRequest&)>;

}  // namespace shop
