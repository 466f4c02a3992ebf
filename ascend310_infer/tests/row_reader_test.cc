// SPDX-License-Identifier: Apache-2.0
#include "row_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <thread>

#include "harness.h"

namespace {

const RowSchema kReadSchema = RowSchema::Criteo(1, 1);

// The two ends of a pipe.
class Pipe {
 public:
  Pipe() {
    if (pipe(ends_) != 0) {
      throw std::runtime_error("pipe failed");
    }
  }
  ~Pipe() {
    CloseWriting();
    close(ends_[0]);
  }
  Pipe(const Pipe &) = delete;
  Pipe &operator=(const Pipe &) = delete;

  int Reading() const { return ends_[0]; }
  void Write(const std::string &text) const { CHECK_EQUAL(write(ends_[1], text.data(), text.size()), ssize_t(text.size())); }
  void CloseWriting() {
    close(ends_[1]);
    ends_[1] = -1;
  }

 private:
  int ends_[2];
};

// Returns the texts of the chunks of a file of this content.
std::vector<std::string> ChunksOf(const std::string &content, size_t chunk_lines, std::vector<Chunk> *chunks = nullptr,
                                  const RowSchema &schema = kReadSchema) {
  const TemporaryFolder folder;
  folder.Write("rows.txt", content);
  const int descriptor = open((folder / "rows.txt").c_str(), O_RDONLY | O_CLOEXEC);
  RowReader reader(descriptor, "rows.txt", schema, chunk_lines, std::chrono::milliseconds(0));
  std::vector<std::string> texts;
  Chunk chunk;
  while (reader.Read(&chunk)) {
    texts.push_back(chunk.text);
    if (chunks != nullptr) {
      chunks->push_back(chunk);
    }
  }
  close(descriptor);
  return texts;
}

}  // namespace

TEST(row_reader, a_file_is_read_in_chunks_of_lines) {
  CHECK_EQUAL(Joined(ChunksOf("a\nb\nc\nd\n", 2)), "a\nb\n,c\nd\n");
  CHECK_EQUAL(Joined(ChunksOf("a\n\nc\nd", 3)), "a\n\nc\n,d");
  CHECK_EQUAL(Joined(ChunksOf("a", 3)), "a");
  CHECK_EQUAL(ChunksOf("", 3).size(), 0U);
  std::vector<Chunk> chunks;
  ChunksOf("a\nb\nc\nd", 3, &chunks);
  CHECK_EQUAL(chunks[1].number, 1U);
  CHECK_EQUAL(chunks[1].first_line, 4U);
}

TEST(row_reader, chunks_put_together_are_the_file) {
  std::string content;
  for (int number = 0; number < 30000; ++number) {
    content += std::string(static_cast<size_t>(number * 7919 % 97), 'x') + "\n";
  }
  content += std::string(9 << 20, 'y') + "\n" + std::string(600000, 'z');
  for (const size_t chunk_lines : {1U, 999U, 100000U}) {
    std::string joined;
    for (const auto &text : ChunksOf(content, chunk_lines)) {
      joined += text;
    }
    CHECK_EQUAL(joined == content, true);
  }
}

TEST(row_reader, a_chunk_of_long_lines_has_fewer_of_them) {
  const std::string line = std::string(3 << 20, 'x') + "\n";
  const auto texts = ChunksOf(line + line + line + "a\n", 1000);  // 4 MiB are in a chunk after two lines
  CHECK_EQUAL(texts.size(), 2U);
  CHECK_EQUAL(texts[1].size(), line.size() + 2);
}

TEST(row_reader, the_first_thousand_lines_of_a_file_tell_whether_rows_have_labels) {
  std::string with;
  std::string without;
  for (int line = 0; line < 400; ++line) {
    with += "1\t\t\n";
    without += "\t\n";
  }
  const std::string other = "x\n";
  for (const size_t chunk_lines : {10U, 5000U}) {
    std::vector<Chunk> chunks;
    ChunksOf(without + with + with + without + without + without, chunk_lines, &chunks);  // 400 and 600 of the first
    CHECK_EQUAL(chunks[0].form->has_label, true);
    chunks.clear();
    ChunksOf(with + other + without + without + with, chunk_lines, &chunks);  // 400 and 599
    CHECK_EQUAL(chunks[0].form->has_label, false);
    chunks.clear();
    ChunksOf(other, chunk_lines, &chunks);
    CHECK_EQUAL(chunks[0].form->has_label, true);
  }
}

TEST(row_reader, a_stream_gives_the_lines_that_have_arrived) {
  Pipe pipe;
  RowReader reader(pipe.Reading(), "stdin", kReadSchema, 3, std::chrono::milliseconds(1));
  Chunk chunk;
  pipe.Write("x\n\t\n1\t");
  CHECK_EQUAL(reader.HaveLabels().has_value(), false);
  CHECK_EQUAL(reader.Read(&chunk), true);
  CHECK_EQUAL(chunk.text, "x\n\t\n");
  CHECK_EQUAL(chunk.form->has_label, false);
  pipe.Write("\t\n1\t\t\n1\t\t\n1\t\t\n");
  CHECK_EQUAL(reader.Read(&chunk), true);
  CHECK_EQUAL(chunk.text, "1\t\t\n1\t\t\n1\t\t\n");
  CHECK_EQUAL(chunk.first_line, 3U);
  CHECK_EQUAL(chunk.form->has_label, false);  // the first row has decided
  pipe.Write("end");
  pipe.CloseWriting();
  std::string rest;
  while (reader.Read(&chunk)) {
    rest += chunk.text;
  }
  CHECK_EQUAL(rest, "1\t\t\nend");
}

TEST(row_reader, rows_that_arrive_within_the_delay_are_one_chunk) {
  Pipe pipe;
  RowReader reader(pipe.Reading(), "stdin", kReadSchema, 1000, std::chrono::seconds(20));
  pipe.Write("a\t\n");
  std::thread later([&] {
    pipe.Write("b\t\n");
    pipe.CloseWriting();
  });
  Chunk chunk;
  CHECK_EQUAL(reader.Read(&chunk), true);
  later.join();
  CHECK_EQUAL(chunk.text, "a\t\nb\t\n");
  CHECK_EQUAL(reader.Read(&chunk), false);
}

TEST(row_reader, the_delay_is_kept_while_there_is_more_to_read) {
  Pipe pipe;
  CHECK_EQUAL(fcntl(pipe.Reading(), F_SETPIPE_SZ, 1 << 18) >= 1 << 18, true);
  RowReader reader(pipe.Reading(), "stdin", kReadSchema, 1 << 20, std::chrono::milliseconds(0));
  const std::string line = std::string(1023, 'x') + "\n";
  for (int number = 0; number < 256; ++number) {
    pipe.Write(line);
  }
  Chunk chunk;
  CHECK_EQUAL(reader.Read(&chunk), true);
  CHECK_EQUAL(chunk.text.size() < 256 * line.size(), true);
}

TEST(row_reader, a_reader_that_waits_can_be_stopped) {
  Pipe pipe;
  RowReader reader(pipe.Reading(), "stdin", kReadSchema, 3, std::chrono::milliseconds(1));
  std::thread stopper([&] { reader.Stop(); });
  Chunk chunk;
  CHECK_EQUAL(reader.Read(&chunk), false);
  stopper.join();
  pipe.Write("a\n");
  CHECK_EQUAL(reader.Read(&chunk), false);
}

TEST(row_reader, a_header_comes_before_the_rows) {
  RowSchema schema = kReadSchema;
  schema.text.has_header = true;
  std::vector<Chunk> chunks;
  CHECK_EQUAL(Joined(ChunksOf("C1\tx\tI1\na\nb\nc", 2, &chunks, schema)), "a\nb\n,c");
  CHECK_EQUAL(chunks[0].form->has_label, false);
  CHECK_EQUAL(chunks[1].first_row, 3U);
  CHECK_EQUAL(chunks[1].first_line, 4U);
  CHECK_EQUAL(ChunksOf("C1\tlabel\tI1\n", 2, nullptr, schema).size(), 0U);
  CHECK_ERROR(ChunksOf("", 2, nullptr, schema), "rows.txt: there is no column I1; the columns are ");
  CHECK_ERROR(ChunksOf("I1\tC", 2, nullptr, schema), "rows.txt: there is no column C1; the columns are I1, C");
}

TEST(row_reader, a_stream_is_read_behind_its_header) {
  RowSchema schema = kReadSchema;
  schema.text.has_header = true;
  Pipe pipe;
  RowReader reader(pipe.Reading(), "stdin", schema, 3, std::chrono::milliseconds(1));
  Chunk chunk;
  std::thread later([&] {
    pipe.Write("I1\tC");
    pipe.Write("1\tlabel\n1\ta\t0\n");
  });
  CHECK_EQUAL(reader.Read(&chunk), true);
  later.join();
  CHECK_EQUAL(chunk.text, "1\ta\t0\n");
  CHECK_EQUAL(chunk.first_line, 2U);
  CHECK_EQUAL(reader.HaveLabels() == true, true);
}

TEST(row_reader, an_input_that_cannot_be_read_is_named) {
  const int folder = open("/", O_RDONLY | O_CLOEXEC);
  RowReader reader(folder, "rows.txt", kReadSchema, 3, std::chrono::milliseconds(1));
  Chunk chunk;
  CHECK_ERROR(reader.Read(&chunk), "rows.txt: cannot be read (Is a directory)");
  close(folder);
}
