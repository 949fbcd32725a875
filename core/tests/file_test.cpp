#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <hufu/core/file.hpp>

#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>

namespace hufu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::byte> bytes(std::size_t count, unsigned seed = 0) {
    std::vector<std::byte> made(count);
    for (std::size_t index = 0; index < count; ++index) made[index] = static_cast<std::byte>((index * 31 + seed) & 0xff);
    return made;
}

class FileTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern = ::testing::TempDir() + "hufu-file-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        path = pattern;
        directory = open_directory(path).value();
    }
    void TearDown() override {
        directory.reset();
        std::filesystem::remove_all(path);
    }
    static Result<void> write(File& file, std::uint64_t offset, std::span<const std::byte> part) {
        return file.write_at(offset, {&part, 1});
    }
    static std::vector<std::byte> read(const File& file, std::uint64_t offset, std::size_t count) {
        std::vector<std::byte> into(count);
        into.resize(file.read_at(offset, into).value());
        return into;
    }

    std::string path;
    std::unique_ptr<Directory> directory;
};

TEST_F(FileTest, ReadsBackAGatheredWriteOfMoreThanOneCallsParts) {
    const auto file = directory->open("log", OpenMode::create_new).value();
    const auto content = bytes(3'000 * 7);
    std::vector<std::span<const std::byte>> parts;
    parts.emplace_back();  // an empty part is nothing
    for (std::size_t part = 0; part < 3'000; ++part) parts.emplace_back(content.data() + part * 7, 7);
    parts.emplace_back();
    ASSERT_TRUE(file->write_at(100, parts).has_value());
    ASSERT_TRUE(file->sync_data().has_value());
    EXPECT_EQ(file->size().value(), 100u + content.size());
    EXPECT_EQ(read(*file, 100, content.size()), content);
    std::vector<std::byte> durable(content.size());
    EXPECT_EQ(file->read_durable_at(100, durable).value(), content.size());
    EXPECT_EQ(durable, content);
    EXPECT_EQ(read(*file, 0, 100), std::vector<std::byte>(100));
}

TEST_F(FileTest, ReadsFewerBytesOnlyAtTheEnd) {
    const auto file = directory->open("log", OpenMode::create_new).value();
    ASSERT_TRUE(write(*file, 0, bytes(10)).has_value());
    EXPECT_EQ(read(*file, 6, 100).size(), 4u);
    EXPECT_EQ(read(*file, 10, 100).size(), 0u);
    EXPECT_EQ(read(*file, 99, 100).size(), 0u);
}

TEST_F(FileTest, FinishesAShortWriteAndReportsTheLimitItHits) {
    const auto file = directory->open("log", OpenMode::create_new).value();
    // The kernel writes up to the limit (a short write), then refuses the rest.
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{.rlim_cur = 5'000, .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const auto content = bytes(8'000);
    const std::array<std::span<const std::byte>, 2> parts{std::span{content}.first(3'000),
                                                          std::span{content}.subspan(3'000)};
    const auto wrote = file->write_at(0, parts);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, handler);

    ASSERT_TRUE(wrote.has_error());
    EXPECT_EQ(wrote.error().code(), ErrorCode::out_of_space);
    EXPECT_EQ(wrote.error().disposition(), Disposition::retry);
    EXPECT_THAT(wrote.error().text(), HasSubstr(path + "/log"));
    EXPECT_EQ(file->size().value(), 5'000u);
    EXPECT_TRUE(file->write_at(0, parts).has_value()) << "the same call works once there is room";
    EXPECT_EQ(read(*file, 0, 8'000), content);
}

TEST_F(FileTest, PreallocatesWrittenBlocks) {
    const auto file = directory->open("log", OpenMode::create_new).value();
    ASSERT_TRUE(write(*file, 0, bytes(1'000)).has_value());
    ASSERT_TRUE(file->preallocate(300'000).has_value());
    EXPECT_EQ(file->size().value(), 300'000u);
    struct stat status {};
    ASSERT_EQ(::stat((path + "/log").c_str(), &status), 0);
    EXPECT_GE(status.st_blocks * 512, 299'000) << "no holes";
    EXPECT_EQ(read(*file, 0, 1'000), bytes(1'000)) << "what was there stays";
    EXPECT_EQ(read(*file, 299'000, 1'000), std::vector<std::byte>(1'000));
}

TEST_F(FileTest, PreallocatesInSeveralPieces) {
    const auto file = directory->open("log", OpenMode::create_new).value();
    constexpr std::size_t size = 2'500'001;
    ASSERT_TRUE(file->preallocate(size).has_value());
    EXPECT_EQ(file->size().value(), size);
    EXPECT_EQ(read(*file, 0, size), std::vector<std::byte>(size));
}

TEST_F(FileTest, ForgetsNothingButCachedPages) {
    const auto file = directory->open("log", OpenMode::create_new).value();
    ASSERT_TRUE(write(*file, 0, bytes(10'000)).has_value());
    file->forget_cached();
    EXPECT_EQ(read(*file, 0, 10'000), bytes(10'000)) << "what is not synced stays";
    ASSERT_TRUE(file->sync_data().has_value());
    file->forget_cached();
    EXPECT_EQ(read(*file, 0, 10'000), bytes(10'000));
}

TEST_F(FileTest, TruncatesToASize) {
    const auto file = directory->open("log", OpenMode::create_new).value();
    ASSERT_TRUE(write(*file, 0, bytes(1'000)).has_value());
    ASSERT_TRUE(file->truncate(10).has_value());
    EXPECT_EQ(file->size().value(), 10u);
}

TEST_F(FileTest, OpensAsAsked) {
    EXPECT_EQ(directory->open("log", OpenMode::read_write).error().code(), ErrorCode::not_found);
    ASSERT_TRUE(directory->open("log", OpenMode::create_new).has_value());
    const auto again = directory->open("log", OpenMode::create_new);
    ASSERT_TRUE(again.has_error());
    EXPECT_EQ(again.error().code(), ErrorCode::conflict);
    EXPECT_THAT(again.error().text(), HasSubstr(path + "/log"));
    const auto reader = directory->open("log", OpenMode::read_only).value();
    EXPECT_TRUE(write(*reader, 0, bytes(1)).has_error());
}

TEST_F(FileTest, ListsRenamesAndRemovesPlainFiles) {
    for (const auto* name : {"b", "a", "c"}) ASSERT_TRUE(directory->open(name, OpenMode::create_new).has_value());
    std::filesystem::create_directory(path + "/folder");
    EXPECT_THAT(directory->list().value(), ElementsAre("a", "b", "c"));
    ASSERT_TRUE(directory->rename("a", "z").has_value());
    ASSERT_TRUE(directory->remove("b").has_value());
    ASSERT_TRUE(directory->sync().has_value());
    EXPECT_THAT(directory->list().value(), ElementsAre("c", "z"));
    EXPECT_EQ(directory->remove("b").error().code(), ErrorCode::not_found);
    EXPECT_EQ(directory->rename("b", "y").error().code(), ErrorCode::not_found);
}

TEST_F(FileTest, LocksTheFolderForOneHolder) {
    auto held = directory->lock().value();
    const auto other = open_directory(path).value();
    const auto refused = other->lock();
    ASSERT_TRUE(refused.has_error());
    EXPECT_EQ(refused.error().code(), ErrorCode::busy);
    EXPECT_THAT(refused.error().text(), HasSubstr("\"" + path + "\" is in use by another process"));
    held.reset();
    EXPECT_TRUE(other->lock().has_value());
}

TEST_F(FileTest, CreatesTheFoldersOnTheWay) {
    const std::string deep = path + "/a/b/c/";
    EXPECT_TRUE(open_directory(deep).has_value());
    EXPECT_TRUE(std::filesystem::is_directory(deep));
    ASSERT_TRUE(directory->open("plain", OpenMode::create_new).has_value());
    const auto blocked = open_directory(path + "/plain/x");
    ASSERT_TRUE(blocked.has_error());
    EXPECT_THAT(blocked.error().text(), HasSubstr(path + "/plain"));
}

}  // namespace
}  // namespace hufu
