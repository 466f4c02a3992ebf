// SPDX-License-Identifier: Apache-2.0
#include "vocabulary.h"

#include "harness.h"

namespace {

const std::string kTableHeader = "field\tvalue\tid\tcount\n";
const std::string kTable = kTableHeader + "I1\t<OOV>\t5\t0\nC1\t<OOV>\t6\t2\nI1\t3\t7\t9\nC1\t\"a\r b\"\t8\t4\nC1\t\t9\t3\n";

std::vector<FieldVocabulary> ReadTable(const std::string &text, int64_t size = 10) {
  return ReadVocabulary(text, {"I1", "C1"}, size, "v.tsv");
}

}  // namespace

TEST(vocabulary, values_are_read_as_they_are_written) {
  const auto fields = ReadTable(kTable);
  CHECK_EQUAL(fields.size(), 2U);
  CHECK_EQUAL(fields[0].name, "I1");
  CHECK_EQUAL(fields[0].oov_id, 5);
  CHECK_EQUAL(fields[0].values.size(), 1U);
  CHECK_EQUAL(fields[0].MissingId(), 5);
  CHECK_EQUAL(fields[1].values[0].text, "\"a\r b\"");
  CHECK_EQUAL(fields[1].values[0].id, 8);
  CHECK_EQUAL(fields[1].MissingId(), 9);
}

TEST(vocabulary, a_vocabulary_may_have_no_field) {
  CHECK_EQUAL(ReadVocabulary(kTableHeader, {}, 100, "v.tsv").size(), 0U);
}

TEST(vocabulary, another_table_is_refused) {
  CHECK_ERROR(ReadTable(""), "v.tsv line 0: the text ends before the OOV ids of all fields; write the package again");
  CHECK_ERROR(ReadTable("a\tb\n"), "v.tsv line 1: it is not the header of a vocabulary");
  CHECK_ERROR(ReadTable(kTableHeader + "I1\t<OOV>\t0\t0\n"), "v.tsv line 2: the text ends before the OOV ids of all fields");
  CHECK_ERROR(ReadTable(kTableHeader + "C1\t<OOV>\t0\t0\n"), "v.tsv line 2: it is not the OOV id of I1");
  CHECK_ERROR(ReadTable(kTableHeader + "I1\t3\t0\t0\n"), "v.tsv line 2: it is not the OOV id of I1");
  CHECK_ERROR(ReadTable(kTable + "C2\ta\t10\t0\n", 11), "v.tsv line 7: its field is not a sparse field of the model");
  CHECK_ERROR(ReadTable(kTable + "C1\ta\t11\t0\n", 12), "v.tsv line 7: its id does not follow that of the line before");
  CHECK_ERROR(ReadTable(kTable + "C1\ta\t10\n", 11), "v.tsv line 7: it has not four columns");
  CHECK_ERROR(ReadTable(kTable + "C1\ta\t10\t1\t1\n", 11), "v.tsv line 7: it has not four columns");
  for (const std::string id : {"", "x", "-1", "1.0", "2147483648", "10 "}) {
    CHECK_ERROR(ReadTable(kTable + "C1\ta\t" + id + "\t0\n", 11), "v.tsv line 7: its id is not a whole number of 31 bits");
  }
  CHECK_ERROR(ReadTable(kTable, 11), "its ids end before 10, the model's before 11");
}
