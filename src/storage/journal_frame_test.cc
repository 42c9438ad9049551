// Journal frames: identity, damage, header copies.
#include "storage/journal_frame.h"

#include <gtest/gtest.h>

namespace robustmq::storage {
namespace {

Bytes text(std::string_view value) { return Bytes::copy_of(value); }

TEST(JournalFrame, FramesOfAnEarlierUseAndOfAnotherFileAreNotTaken) {
  JournalFileHeader old_use{7, 0x1111, 100, 1 << 16};
  JournalFileHeader new_use{9, 0x2222, 300, 1 << 16};
  Buffer file;
  file.append(encode_journal_header(new_use));
  const auto add = [&file](const JournalFileHeader& use, uint64_t sequence, std::string_view payload) {
    FrameHeader header;
    header.file_epoch = use.file_epoch;
    header.sequence = sequence;
    encode_frame_header(header, {text(payload)}, use.salt, file);
    file.append(payload);
    while (file.size() % kFrameAlignment != 0) file.append_u8(0);
  };
  add(new_use, 300, "first");
  add(new_use, 301, "second");
  add(old_use, 102, "old");
  add({9, 0x3333, 300, 1 << 16}, 302, "forged without the salt");
  const size_t damaged_from = file.size();
  add(new_use, 302, "damaged");
  add(new_use, 303, "behind");
  file.data()[damaged_from + 81] ^= 1;
  const Bytes contents = file.take();
  ASSERT_TRUE(decode_journal_header(contents).has_value());
  FrameScanner scanner(*decode_journal_header(contents), contents);
  std::vector<std::string> seen;
  for (Frame frame; scanner.next(frame);) seen.emplace_back(frame.payload.text());
  EXPECT_EQ(seen, (std::vector<std::string>{"first", "second", "behind"}));
  EXPECT_GT(scanner.damaged_bytes(), 0u);
}

TEST(JournalFrame, OneDamagedHeaderCopyIsNoLoss) {
  Bytes header = encode_journal_header({3, 4, 5, 1 << 16});
  header.patchable()[20] ^= 4;
  EXPECT_TRUE(decode_journal_header(header).has_value());
  header.patchable()[2048 + 20] ^= 4;
  EXPECT_FALSE(decode_journal_header(header).has_value());
}

}  // namespace
}  // namespace robustmq::storage
