// A CUDA runtime with more GPUs than the package has room for. Everything but their number and what
// they are comes from the simulator, which it is linked with.

int cudaGetDeviceCount(int *count)
{
    *count = 135;
    return 0;
}

int cudaDeviceGetAttribute(int *value, int attribute, int device)
{
    (void)device;
    *value = attribute == 75 ? 8 : 0; // cudaDevAttrComputeCapabilityMajor, and the minor one
    return 0;
}
