// What every test of stream-ordered memory starts from: small pools of two GPUs and of pinned
// memory, and three streams, which a test holds where it needs to know what is done and what is
// not. Streams are named by their index, and a failure of any call ends the program.
#ifndef STREAM_FIXTURE_H
#define STREAM_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "bun_cuda_memory.h"
#include "held_stream.h"

enum {
    DEVICE_COUNT = 2,
    BLOCK_BYTE_SIZE = 4096,
    BLOCK_COUNT = 8, // of each pool
    POOL_BYTE_SIZE = BLOCK_BYTE_SIZE * BLOCK_COUNT,
    STREAM_COUNT = 3,
    NO_STREAM = -1,
};

// The last stream is of GPU 1, so that memory of GPU 0 goes to and fro between streams of both.
extern struct cuda_stream streams[STREAM_COUNT];
extern struct hold holds[STREAM_COUNT];

// Binds the simulator. This comes first in main().
void stream_fixture_bind(void);

// ---- The life of a case

void set_up(void);
void reset_managers(void);

// Destroys the streams, resets the managers, and expects that nothing is left of them.
void tear_down(void);

void synchronize(int stream);
void release_and_synchronize(int stream);

// How often a stream was made to wait for an event, and how often an event was asked.
uint64_t stream_wait_count(void);
uint64_t event_query_count(void);

// ---- Allocating and freeing

// Memory of GPU 0, or host memory where there is none.
struct memory_allocation alloc_on_stream(int stream, double byte_size);

// The same without a stream.
struct memory_allocation alloc_now(double byte_size);

// Allocates the whole pool of GPU 0 as blocks of one size, and sorts them by address.
void alloc_all(struct memory_allocation blocks[BLOCK_COUNT]);

bool is_on_gpu(const struct memory_allocation *allocation);

void free_now(const struct memory_allocation *allocation);
void free_on_stream(int stream, const struct memory_allocation *allocation);

// The same for calls that may fail.
enum memory_status try_free(const struct memory_allocation *allocation);
enum memory_status try_free_on_stream(int stream, const struct memory_allocation *allocation);

// Frees the whole pool of GPU 0, as one allocation, on stream 0, which is held. Returns what that
// allocation was.
struct memory_allocation free_all_on_held_stream(void);

// ---- What must hold of the pool of GPU 0

void expect_nothing_free(void);
void expect_used(double byte_size);
struct memory_pool_stats gpu_stats(void);

#endif
