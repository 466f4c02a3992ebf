// SPDX-License-Identifier: Apache-2.0
// A hidden layer, relu(values weight^T + bias + addend) where a mask keeps a unit and 0 elsewhere, and its gradients,
// which multiply in bfloat16 and add in float32: operators of MindSpore (ops.Custom, func_type "aot").  A thread takes
// one block of rows after the other through the whole layer, so that what is between conversion, product and ReLU
// stays in its cache.
//
// B rows, of K values and H units; M masks, of which row r has the one of index r mod M.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

using Bfloat16 = uint16_t;

// Of MindSpore's oneDNN, which exports it without a header.  c [m, n] = a [m, k] b [k, n] + beta * c, row by row;
// 'T': the transpose of a or b is stored.  Without a thread pool it computes in the calling thread.  0: success.
extern "C" int dnnl_threadpool_interop_gemm_bf16bf16f32(char transpose_a, char transpose_b, int64_t m, int64_t n,
                                                        int64_t k, float alpha, const Bfloat16 *a, int64_t a_width,
                                                        const Bfloat16 *b, int64_t b_width, float beta, float *c,
                                                        int64_t c_width, void *thread_pool);

namespace {

constexpr int64_t kBlockRows = 512;  // with fewer, oneDNN rearranges the weights more often
constexpr int64_t kFewestRows = 64;  // of a thread

struct Sizes {
  int64_t rows, values, units;
};

// Rounds to the nearest, of two to the even one.
inline Bfloat16 Round(float number) {
  uint32_t bits;
  std::memcpy(&bits, &number, sizeof(bits));
  const bool is_nan = (bits & 0x7FFFFFFF) > 0x7F800000;
  return static_cast<Bfloat16>((is_nan ? bits | 0x400000 : bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

inline float ToFloat(float number) { return number; }
inline float ToFloat(Bfloat16 number) {
  const uint32_t bits = static_cast<uint32_t>(number) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

inline void Store(float number, float *to) { *to = number; }
inline void Store(float number, Bfloat16 *to) { *to = Round(number); }

// Returns numbers in bfloat16: those of the buffer, or themselves.
const Bfloat16 *Rounded(const float *numbers, int64_t count, Bfloat16 *buffer) {
  for (int64_t number = 0; number < count; ++number) {
    buffer[number] = Round(numbers[number]);
  }
  return buffer;
}
const Bfloat16 *Rounded(const Bfloat16 *numbers, int64_t, Bfloat16 *) { return numbers; }

template <class T>
std::unique_ptr<T[]> Allocate(int64_t count) {
  return std::unique_ptr<T[]>(new T[count]);  // std::make_unique would set it to 0
}

void Add(const float *numbers, int64_t count, float *sums) {
  for (int64_t number = 0; number < count; ++number) {
    sums[number] += numbers[number];
  }
}

int64_t ThreadCount(int64_t rows) {
  const int64_t processors = std::max(1U, std::thread::hardware_concurrency());
  return std::min(processors, (rows + kFewestRows - 1) / kFewestRows);
}

// Calls function(thread, begin, end) in several threads, each for its part of the rows.
template <class Function>
void InThreads(int64_t rows, const Function &function) {
  const int64_t count = ThreadCount(rows);
  std::vector<std::thread> threads;
  for (int64_t thread = 1; thread < count; ++thread) {
    threads.emplace_back(function, thread, rows * thread / count, rows * (thread + 1) / count);
  }
  function(0, 0, rows / count);
  for (std::thread &thread : threads) {
    thread.join();
  }
}

// Products, and whether one of them has failed.
class Products {
 public:
  // c [m, n] = a b + beta * c, for a [m, k], or its transpose, and b [k, n], or its transpose.
  void operator()(char transpose_a, char transpose_b, int64_t m, int64_t n, int64_t k, const Bfloat16 *a,
                  const Bfloat16 *b, float *c, float beta = 0) {
    const int64_t a_width = transpose_a == 'T' ? m : k, b_width = transpose_b == 'T' ? k : n;
    if (dnnl_threadpool_interop_gemm_bf16bf16f32(transpose_a, transpose_b, m, n, k, 1, a, a_width, b, b_width, beta, c,
                                                 n, nullptr) != 0) {
      has_failed_ = true;
    }
  }
  // The same, rounded.
  void operator()(char transpose_a, char transpose_b, int64_t m, int64_t n, int64_t k, const Bfloat16 *a,
                  const Bfloat16 *b, Bfloat16 *c) {
    const auto products = Allocate<float>(m * n);
    (*this)(transpose_a, transpose_b, m, n, k, a, b, products.get());
    Rounded(products.get(), m * n, c);
  }
  int status() const { return has_failed_; }

 private:
  std::atomic<bool> has_failed_{false};
};

std::unique_ptr<Bfloat16[]> RoundWeight(const float *weight, const Sizes &sizes) {
  auto rounded = Allocate<Bfloat16>(sizes.units * sizes.values);
  InThreads(sizes.units, [&](int64_t, int64_t begin, int64_t end) {
    Rounded(weight + begin * sizes.values, (end - begin) * sizes.values, rounded.get() + begin * sizes.values);
  });
  return rounded;
}

struct Masks {
  const uint8_t *is_kept;  // [M, H], 0 or 1: of bool there are no vector instructions
  int64_t count;
};

// Stores the result of a row: relu(products + bias + addend), or 0.  addend: nullptr for none.
template <class Out>
void Activate(float *products, const float *bias, const float *addend, const uint8_t *is_kept, int64_t units,
              Out *result) {
  if (addend != nullptr) {
    Add(addend, units, products);
  }
  for (int64_t unit = 0; unit < units; ++unit) {
    const float sum = products[unit] + bias[unit];
    Store(is_kept[unit] ? std::max(sum, 0.0F) : 0.0F, &result[unit]);
  }
}

// addend: [B, H], or nullptr.  result: [B, H].
template <class In, class Out>
int Forward(const Sizes &sizes, const In *values, const float *weight, const float *bias, const Masks &masks,
            const float *addend, Out *result) {
  const auto [rows, width, units] = sizes;
  const auto weight16 = RoundWeight(weight, sizes);
  Products multiply;
  InThreads(rows, [&, width = width, units = units](int64_t, int64_t begin, int64_t end) {
    const auto buffer = Allocate<Bfloat16>(kBlockRows * width);
    const auto products = Allocate<float>(kBlockRows * units);
    for (int64_t first = begin; first < end; first += kBlockRows) {
      const int64_t count = std::min(kBlockRows, end - first);
      const Bfloat16 *values16 = Rounded(values + first * width, count * width, buffer.get());
      multiply('N', 'T', count, units, width, values16, weight16.get(), products.get());
      for (int64_t row = first; row < first + count; ++row) {
        Activate(products.get() + (row - first) * units, bias, addend == nullptr ? nullptr : addend + row * units,
                 masks.is_kept + row % masks.count * units, units, result + row * units);
      }
    }
  });
  return multiply.status();
}

// Gradients, summed over rows.
struct Sums {
  float *of_weight, *of_bias;
};

// Stores the gradient of a row's products, and adds it to that of the bias.  of_addend: the same; nullptr for none.
template <class Out>
void Deactivate(const Out *result, const Out *gradient, int64_t units, Bfloat16 *of_products, float *of_bias,
                float *of_addend) {
  for (int64_t unit = 0; unit < units; ++unit) {
    const float number = ToFloat(result[unit]) > 0 ? ToFloat(gradient[unit]) : 0.0F;
    of_products[unit] = Round(number);
    of_bias[unit] += number;
  }
  for (int64_t unit = 0; of_addend != nullptr && unit < units; ++unit) {
    of_addend[unit] = ToFloat(result[unit]) > 0 ? ToFloat(gradient[unit]) : 0.0F;
  }
}

// result, gradient, of_addend: [B, H].  of_values: [B, K].  Sets `sums` to those of the rows from begin to end.
template <class In, class Out>
void BackwardRows(const Sizes &sizes, int64_t begin, int64_t end, const In *values, const Bfloat16 *weight,
                  const Out *result, const Out *gradient, In *of_values, const Sums &sums, float *of_addend,
                  Products *multiply) {
  const auto [rows, width, units] = sizes;
  const auto buffer = Allocate<Bfloat16>(kBlockRows * width);
  const auto of_products = Allocate<Bfloat16>(kBlockRows * units);
  std::fill_n(sums.of_bias, units, 0.0F);
  for (int64_t first = begin; first < end; first += kBlockRows) {
    const int64_t count = std::min(kBlockRows, end - first);
    for (int64_t row = 0; row < count; ++row) {
      const int64_t start = (first + row) * units;
      Deactivate(result + start, gradient + start, units, of_products.get() + row * units, sums.of_bias,
                 of_addend == nullptr ? nullptr : of_addend + start);
    }
    const Bfloat16 *values16 = Rounded(values + first * width, count * width, buffer.get());
    (*multiply)('T', 'N', units, width, count, of_products.get(), values16, sums.of_weight, first == begin ? 0 : 1);
    (*multiply)('N', 'N', count, width, units, of_products.get(), weight, of_values + first * width);
  }
}

// The outputs are of_values, total and of_addend, which is nullptr if nobody needs it.
template <class In, class Out>
int Backward(const Sizes &sizes, const In *values, const float *weight, const Out *result, const Out *gradient,
             In *of_values, const Sums &total, float *of_addend) {
  const int64_t thread_count = ThreadCount(sizes.rows), weights = sizes.units * sizes.values;
  const auto weight16 = RoundWeight(weight, sizes);
  const auto others = Allocate<float>((thread_count - 1) * (weights + sizes.units));  // of all threads but the first
  const auto sums_of = [&](int64_t thread) {
    float *own = others.get() + (thread - 1) * (weights + sizes.units);
    return thread == 0 ? total : Sums{own, own + weights};
  };
  Products multiply;
  InThreads(sizes.rows, [&](int64_t thread, int64_t begin, int64_t end) {
    BackwardRows(sizes, begin, end, values, weight16.get(), result, gradient, of_values, sums_of(thread), of_addend,
                 &multiply);
  });
  InThreads(sizes.units, [&](int64_t, int64_t begin, int64_t end) {
    for (int64_t thread = 1; thread < thread_count; ++thread) {
      const Sums sums = sums_of(thread);
      const int64_t first = begin * sizes.values;
      Add(sums.of_weight + first, end * sizes.values - first, total.of_weight + first);
      Add(sums.of_bias + begin, end - begin, total.of_bias + begin);
    }
  });
  return multiply.status();
}

// Calls run(input, output) with numbers of the two types that MindSpore names.
template <class Run>
int WithTypes(const char *input, const char *output, const Run &run) {
  const bool is_input16 = std::strcmp(input, "bfloat16") == 0, is_output16 = std::strcmp(output, "bfloat16") == 0;
  if (is_input16) {
    return is_output16 ? run(Bfloat16{}, Bfloat16{}) : run(Bfloat16{}, float{});
  }
  return is_output16 ? run(float{}, Bfloat16{}) : run(float{}, float{});
}

Sizes SizesOf(int64_t **shapes) { return {shapes[0][0], shapes[0][1], shapes[1][0]}; }

float *Floats(void *data) { return static_cast<float *>(data); }

}  // namespace

// Inputs: values [B, K], weight float32 [H, K], bias float32 [H], is_kept bool [M, H], and maybe an addend float32
// [B, H].  Output: activations [B, H].  The values and the activations are float32 or bfloat16.
extern "C" int HiddenLayer(int count, void **data, int *, int64_t **shapes, const char **types, void *, void *) {
  const Sizes sizes = SizesOf(shapes);
  return WithTypes(types[0], types[count - 1], [&](auto input, auto output) {
    return Forward(sizes, static_cast<const decltype(input) *>(data[0]), Floats(data[1]), Floats(data[2]),
                   Masks{static_cast<const uint8_t *>(data[3]), shapes[3][0]}, count == 6 ? Floats(data[4]) : nullptr,
                   static_cast<decltype(output) *>(data[count - 1]));
  });
}

// Inputs: values, weight, the activations and their gradient.
// Outputs: the gradients of the values, the weight and the bias, and, if there are 8 arrays, of the addend.
extern "C" int HiddenLayerGrad(int count, void **data, int *, int64_t **shapes, const char **types, void *, void *) {
  return WithTypes(types[0], types[2], [&](auto input, auto output) {
    using In = decltype(input);
    using Out = decltype(output);
    return Backward(SizesOf(shapes), static_cast<const In *>(data[0]), Floats(data[1]),
                    static_cast<const Out *>(data[2]), static_cast<const Out *>(data[3]), static_cast<In *>(data[4]),
                    Sums{Floats(data[5]), Floats(data[6])}, count == 8 ? Floats(data[7]) : nullptr);
  });
}
