#include "errors.hpp"

#include <string>

namespace hufu::redis {
namespace {

struct Known {
    std::string_view begins;
    ErrorCode code;
    Disposition disposition;
    std::string_view way_out;
};

constexpr Known table[] = {
    {"NOAUTH", ErrorCode::permission, Disposition::fatal, "the server wants a password: put it into the URL"},
    {"WRONGPASS", ErrorCode::permission, Disposition::fatal, "check user and password in the URL"},
    {"ERR AUTH", ErrorCode::permission, Disposition::fatal, "the server has no password: take it out of the URL"},
    {"ERR Client sent AUTH", ErrorCode::permission, Disposition::fatal,
     "the server has no password: take it out of the URL"},
    {"ERR invalid password", ErrorCode::permission, Disposition::fatal, "check the password in the URL"},
    {"NOPERM", ErrorCode::permission, Disposition::fatal, "give this user the right (ACL SETUSER)"},
    {"READONLY", ErrorCode::unavailable, Disposition::retry,
     "this server is a replica: wait until the failover has ended, or give the primary's address"},
    {"OOM", ErrorCode::out_of_space, Disposition::retry, "the server's memory is full: raise maxmemory or delete keys"},
    {"MISCONF", ErrorCode::io, Disposition::retry, "the server cannot write its disk: see its log"},
    {"LOADING", ErrorCode::unavailable, Disposition::retry, "the server reads its data: wait"},
    {"BUSY", ErrorCode::busy, Disposition::retry, "the server runs a long script: wait, or SCRIPT KILL"},
    {"MASTERDOWN", ErrorCode::unavailable, Disposition::retry,
     "this replica has lost its primary: give the primary's address"},
    {"NOREPLICAS", ErrorCode::unavailable, Disposition::retry, "too few replicas are connected (min-replicas-to-write)"},
    {"TRYAGAIN", ErrorCode::unavailable, Disposition::retry, "the cluster moves this key: wait"},
    {"CLUSTERDOWN", ErrorCode::unavailable, Disposition::retry, "the cluster does not serve: see cluster info"},
    {"MOVED", ErrorCode::unsupported, Disposition::fatal,
     "this server is a node of a cluster and the key lives elsewhere; cluster mode is not offered: give a server that owns "
     "all keys"},
    {"ASK", ErrorCode::unsupported, Disposition::fatal,
     "this server is a node of a cluster that moves keys; cluster mode is not offered: give a server that owns all keys"},
    {"CROSSSLOT", ErrorCode::unsupported, Disposition::fatal,
     "cluster mode is not offered: give a server that owns all keys"},
    {"NOSCRIPT", ErrorCode::not_found, Disposition::retry, "the server has forgotten the script; it is sent again"},
    {"WRONGTYPE", ErrorCode::conflict, Disposition::reject, "the key holds something else: choose another prefix"},
    {"ERR DB index", ErrorCode::invalid_argument, Disposition::fatal, "the server has fewer databases: see its `databases`"},
    {"ERR max number of clients", ErrorCode::busy, Disposition::retry, "raise the server's maxclients"},
};

}  // namespace

Error server_error(std::string_view text, std::string_view server) {
    const std::string said = std::string{server} + " says \"" + std::string{text.substr(0, 300)} + "\"";
    for (const auto& known : table) {
        if (text.starts_with(known.begins)) {
            return Error{known.code, known.disposition, said + ": " + std::string{known.way_out}};
        }
    }
    return Error{ErrorCode::protocol, Disposition::reject, said};
}

}  // namespace hufu::redis
