// libpqxx 6.4 forgets to free the answers that say that the connection was ended from the other side.
extern "C" const char* __lsan_default_suppressions();  // NOLINT: the sanitizer's name
extern "C" const char* __lsan_default_suppressions() { return "leak:libpqxx-6.4"; }
