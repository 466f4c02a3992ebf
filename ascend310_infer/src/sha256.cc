// SPDX-License-Identifier: Apache-2.0
#include "sha256.h"

#include <openssl/evp.h>

#include <fstream>
#include <memory>
#include <new>
#include <vector>

#include "error.h"

namespace {

constexpr size_t kBlockBytes = 1 << 20;

// The digest of bytes that arrive in parts.
class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    if (context_ == nullptr || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) {
      throw std::bad_alloc();
    }
  }

  void Add(const char *bytes, size_t count) {
    if (EVP_DigestUpdate(context_.get(), bytes, count) != 1) {
      throw std::bad_alloc();
    }
  }

  std::string Finish() {
    constexpr char kDigits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    EVP_DigestFinal_ex(context_.get(), digest, &size);
    std::string text;
    for (unsigned index = 0; index < size; ++index) {
      text += {kDigits[digest[index] >> 4], kDigits[digest[index] & 15]};
    }
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

std::string Sha256(std::string_view bytes) {
  Digest digest;
  digest.Add(bytes.data(), bytes.size());
  return digest.Finish();
}

std::string Sha256OfFile(const std::filesystem::path &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    throw Error(Text(path.string(), ": cannot be read"));
  }
  Digest digest;
  std::vector<char> block(kBlockBytes);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0) {
    digest.Add(block.data(), static_cast<size_t>(file.gcount()));
  }
  if (file.bad()) {
    throw Error(Text(path.string(), ": cannot be read to its end"));
  }
  return digest.Finish();
}
