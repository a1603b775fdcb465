// Sum and difference, in the place of the operands. Unsigned, since that may wrap around.
extern "C" __global__ void add_sub(unsigned *left, unsigned *right, unsigned long long count) {
  unsigned long long stride = (unsigned long long)gridDim.x * blockDim.x;
  unsigned long long first = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  for (unsigned long long index = first; index < count; index += stride) {
    unsigned a = left[index];
    unsigned b = right[index];
    left[index] = a + b;
    right[index] = a - b;
  }
}
