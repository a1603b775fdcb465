// A pool as Triton makes its pinned one: Boost's managed external buffer over one mapped range, and
// a table of the live addresses, each under a mutex of its own.
#include <sys/mman.h>

#include <boost/interprocess/managed_external_buffer.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <unordered_map>

namespace {

struct Pool {
    Pool(void *base, std::size_t byte_size)
        : buffer(boost::interprocess::create_only, base, byte_size)
    {
    }

    boost::interprocess::managed_external_buffer buffer;
    std::mutex buffer_mutex;
    std::unordered_map<void *, bool> live; // whether it came from the buffer
    std::mutex live_mutex;
};

std::unique_ptr<Pool> pool;

} // namespace

extern "C" {

// Makes the pool. Returns 1, or 0 where there is no address space for it.
std::int32_t boost_create(double byte_size)
{
    auto size = static_cast<std::size_t>(byte_size);
    void *base = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return 0;
    pool = std::make_unique<Pool>(base, size);
    return 1;
}

double boost_alloc(double byte_size, double)
{
    void *memory;
    {
        std::lock_guard<std::mutex> guard(pool->buffer_mutex);
        memory = pool->buffer.allocate(static_cast<std::size_t>(byte_size), std::nothrow);
    }
    if (memory == nullptr) return 0;
    std::lock_guard<std::mutex> guard(pool->live_mutex);
    pool->live.emplace(memory, true);
    return static_cast<double>(reinterpret_cast<std::uintptr_t>(memory));
}

std::int32_t boost_free(double address, double)
{
    void *memory = reinterpret_cast<void *>(static_cast<std::uintptr_t>(address));
    {
        std::lock_guard<std::mutex> guard(pool->live_mutex);
        if (pool->live.erase(memory) == 0) return -1;
    }
    std::lock_guard<std::mutex> guard(pool->buffer_mutex);
    pool->buffer.deallocate(memory);
    return 0;
}
}
