// A foreign project: knows only the installed headers and libraries.
#include <hufu/core/message.hpp>
#include <hufu/sqlite/database.hpp>
#include <hufu/sqlite/outbox.hpp>
#include <hufu/sqlite/schema.hpp>
#include <hufu/sqlite/transaction_producer.hpp>

#include <cstdio>
#include <exception>
#include <string>

int main(int count, char** arguments) {
    if (count != 2) return 2;
    try {
        hufu::sqlite::Database database{arguments[1]};
        hufu::sqlite::migrate(database).value();
        hufu::sqlite::Outbox outbox;
        hufu::sqlite::Transaction tx{database};
        const hufu::MessageId id = outbox.append(tx, {.topic = "orders", .ordering_key = "7", .body = "paid"});
        tx.commit();
        std::printf("appended %s\n", id.to_string().c_str());
        // The verdict table of the same file, as a broker's check would ask it.
        hufu::sqlite::VerdictStore verdicts{arguments[1]};
        const auto seen = verdicts.check(id).value();
        std::printf("a transaction that never began is %s\n", std::string{hufu::txmsg::to_string(seen)}.c_str());
        return id.is_nil() || seen != hufu::txmsg::Seen::rolled_back ? 1 : 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "consumer: %s\n", error.what());
        return 1;
    }
}
