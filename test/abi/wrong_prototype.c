// This file must not compile with CUDA's header, where size is a size_t.
cudaError_t cudaMalloc(void **device_pointer, unsigned int size)
{
    (void)device_pointer;
    (void)size;
    return cudaSuccess;
}
