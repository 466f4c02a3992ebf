// SPDX-License-Identifier: Apache-2.0
#include "ordered_writer.h"

#include <thread>

#include "harness.h"

TEST(ordered_writer, parts_are_written_in_the_order_of_their_numbers) {
  const TemporaryFolder folder;
  OutputFile output(folder / "a");
  OrderedWriter writer(&output, 2);
  std::thread later([&] {
    writer.Write(1, "b", nullptr);
    writer.Write(2, "c", nullptr);  // waits for the first part, as two are in the window
  });
  writer.Write(0, "a", nullptr);
  later.join();
  CHECK_EQUAL(writer.Write(3, "d", nullptr), true);
  output.Commit();
  CHECK_EQUAL(ReadText(folder / "a"), "abcd");
}

TEST(ordered_writer, nothing_is_written_behind_an_error) {
  const TemporaryFolder folder;
  OutputFile output(folder / "a");
  OrderedWriter writer(&output, 4);
  CHECK_EQUAL(writer.Write(1, "b", std::make_exception_ptr(Error("at b"))), true);
  CHECK_EQUAL(writer.Write(2, "c", std::make_exception_ptr(Error("at c"))), true);
  CHECK_EQUAL(writer.Write(0, "a", nullptr), false);
  CHECK_EQUAL(writer.Write(100, "x", nullptr), false);
  CHECK_ERROR(writer.ThrowError(), "at b");
  output.Commit();
  CHECK_EQUAL(ReadText(folder / "a"), "ab");
}
