// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <string>

// What a model or a folder of inputs says of its data: text by name, the digest of all of it under data_identity.  Empty
// if it says nothing.
using Metadata = std::map<std::string, std::string>;

// Reads the user_info of a MindIR file.  Empty also if the file is not a complete protobuf message: the runtime refuses
// such a file itself.
Metadata ReadModelMetadata(const std::filesystem::path &path);

// Reads data_identity.txt, lines of name=value, in a folder.  Throws Error if it is there without a digest.
Metadata ReadFolderMetadata(const std::filesystem::path &folder);

// Writes that file.
void WriteFolderMetadata(const std::filesystem::path &folder, const Metadata &metadata);

// Throws Error, naming the entries that differ, unless the model and the inputs are of the same data.  `inputs_path`:
// what the message calls the inputs.  Prints a warning to stderr if either does not say which data it is of.
void CheckSameData(const std::string &model_path, const Metadata &model, const std::string &inputs_path,
                   const Metadata &inputs);

// Returns the number of ids in the model's table, or the largest number of ids that int32 allows if it does not say.
int64_t VocabularySize(const Metadata &model);
