#include "errors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hufu::redis {
namespace {

TEST(RedisErrors, SayWhatMayBeDoneNext) {
    struct Case {
        const char* text;
        ErrorCode code;
        Disposition disposition;
    };
    for (const auto& [text, code, disposition] :
         {Case{"WRONGPASS invalid username-password pair", ErrorCode::permission, Disposition::fatal},
          Case{"NOAUTH Authentication required.", ErrorCode::permission, Disposition::fatal},
          Case{"READONLY You can't write against a read only replica.", ErrorCode::unavailable, Disposition::retry},
          Case{"OOM command not allowed when used memory > 'maxmemory'.", ErrorCode::out_of_space, Disposition::retry},
          Case{"MOVED 3999 127.0.0.1:6381", ErrorCode::unsupported, Disposition::fatal},
          Case{"ASK 3999 127.0.0.1:6381", ErrorCode::unsupported, Disposition::fatal},
          Case{"LOADING Redis is loading the dataset in memory", ErrorCode::unavailable, Disposition::retry},
          Case{"BUSY Redis is busy running a script", ErrorCode::busy, Disposition::retry},
          Case{"MISCONF Errors writing to the AOF file", ErrorCode::io, Disposition::retry},
          Case{"WRONGTYPE Operation against a key", ErrorCode::conflict, Disposition::reject},
          Case{"ERR unknown command 'X'", ErrorCode::protocol, Disposition::reject}}) {
        const Error error = server_error(text, "redis://h:1");
        EXPECT_EQ(error.code(), code) << text;
        EXPECT_EQ(error.disposition(), disposition) << text;
        EXPECT_THAT(error.text(), testing::HasSubstr("redis://h:1 says")) << text;
    }
}

}  // namespace
}  // namespace hufu::redis
