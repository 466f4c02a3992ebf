// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>

// The identity of the data of a model or of a folder of inputs: text by name, with the digest of all entries under
// data_identity.  Empty if the identity is not known.
using Metadata = std::map<std::string, std::string>;

// Reads the user_info of a MindIR file.  The result is also empty if the file is not a complete protobuf message; the
// runtime refuses such a file itself.
Metadata ReadModelMetadata(const std::filesystem::path &path);

// Reads data_identity.txt, lines of name=value, in a folder.  Throws Error if the file exists but holds no digest.
Metadata ReadFolderMetadata(const std::filesystem::path &folder);

// Writes data_identity.txt into a folder.
void WriteFolderMetadata(const std::filesystem::path &folder, const Metadata &metadata);

// Throws Error, which names the entries that differ, unless the model and the inputs are of the same data.  Prints a
// warning to stderr for each of the two whose identity is not known.  The paths are for messages.
void CheckSameData(const std::string &model_path, const Metadata &model, const std::string &inputs_path,
                   const Metadata &inputs);

// Returns the number of ids in the model's embedding table; without this entry the number of ids that int32 allows.
int64_t VocabularySize(const Metadata &model);
