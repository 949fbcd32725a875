// Why a request was not accepted, in words a caller can act on.
#pragma once

#include <boost/system/result.hpp>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace shop {

/// What kind of "no" it is. The HTTP edge gives each its status.
enum class Refused : std::uint8_t {
    malformed,          ///< not the format at all (no JSON object)
    invalid,            ///< readable, but a field breaks a rule
    unknown,            ///< the thing named does not exist
    conflict,           ///< the thing is in a state that does not allow it
    different_payload,  ///< this id was used before, with other content
};

/// Names the field, the value that was sent and the rule it breaks.
struct Refusal {
    Refused kind = Refused::invalid;
    std::string field = {};
    std::string value = {};
    std::string rule = {};
    friend bool operator==(const Refusal&, const Refusal&) = default;
};

/// A value, or the reason why there is none.
template <class T>
using Answer = boost::system::result<T, Refusal>;

[[noreturn]] inline void throw_exception_from_error(const Refusal& refusal, const boost::source_location&) {
    throw std::logic_error{"a refusal was taken for an answer: " + refusal.field + " " + refusal.rule};
}

}  // namespace shop
