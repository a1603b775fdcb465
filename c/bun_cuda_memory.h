// Everything that the library exports: the one source of the boundary between TypeScript and C.
// `src/native/memory-symbols.ts` declares the same for bun:ffi, and the tests have a compiler
// compare the two.
//
// Sizes, addresses and device ids travel as double, the fastest way through bun:ffi: all of them
// are whole numbers below 2^53. The caller has checked that they are whole and not negative, but for
// shares where a size may be one.
//
// A call that can fail returns a memory_status. A call that returns an address returns the negative
// status where it fails. After a failure, and after
// MEMORY_OK_WITH_WARNINGS, memory_message() says what happened. All calls are thread-safe.
#ifndef BUN_CUDA_MEMORY_H
#define BUN_CUDA_MEMORY_H

#include <stdint.h>

#define MEMORY_EXPORT __attribute__((visibility("default")))

// The package's version.
#define MEMORY_VERSION "0.1.0"

// Failures are below 0, and each is the code of a MemoryError. Successes that say more than that
// the call succeeded are above 0.
enum memory_status {
    MEMORY_OK = 0,
    MEMORY_OK_WITH_WARNINGS = 1, // the message has warnings, a line each
    MEMORY_QUEUED = 2,           // a copy is on its stream, and may not be done
    MEMORY_NOT_DONE = 3,         // the work that was asked about is still under way
    MEMORY_COLLECT_FIRST = 4,    // nothing was done: ask the garbage collector, and call again
    MEMORY_FALLBACK = 5,         // memory of another kind was got; the message is still to be made
    MEMORY_OK_SERVED = 6,        // and requests that waited are over, whose threads may be told
    MEMORY_NOTHING_SERVES = 7,   // no memory was got, and that is no failure
    MEMORY_ACCOUNT_ENDED = 8,    // nothing was done: open the account again, and call again
    MEMORY_UNKNOWN = -1,
    MEMORY_INTERNAL = -2,
    MEMORY_NOT_FOUND = -3,
    MEMORY_INVALID_ARG = -4,
    MEMORY_UNAVAILABLE = -5,
    MEMORY_UNSUPPORTED = -6,
    MEMORY_ALREADY_EXISTS = -7,
    MEMORY_OUT_OF_MEMORY = -8,
    MEMORY_OUT_OF_RANGE = -9,
    MEMORY_DEVICE_LOST = -10,
};

enum memory_type {
    MEMORY_CPU = 0,
    MEMORY_CPU_PINNED = 1,
    MEMORY_GPU = 2,
};

// How far a request may fall that its own pool cannot serve.
enum memory_fallback {
    MEMORY_FALLBACK_DEFAULT = 0, // as the process has it
    MEMORY_FALLBACK_SYSTEM = 1,
    MEMORY_FALLBACK_PINNED = 2,
    MEMORY_FALLBACK_NONE = 3,
};

// A pool's statistics, in the order of the public PoolStats.
struct memory_pool_stats {
    double capacity_byte_size;
    double used_byte_size;
    double peak_used_byte_size;
    double free_byte_size;
    double largest_free_byte_size;
    double allocation_count;
    double failed_allocation_count;
    double set_aside_byte_size;
    double detached_byte_size;
    double nonpinned_byte_size; // of pinned memory's manager only
    double waiting_count;
};

// What an account has of one kind of memory or of all together, in the order of the public AccountStats.
struct memory_account_stats {
    double used_byte_size;
    double peak_used_byte_size;
    double allocation_count;
    double cumulative_allocation_count;
    double cumulative_byte_size;
    double failed_allocation_count;
    double fallback_count;
};

// Why the kind of memory that a request began with has not served it.
enum memory_cause {
    MEMORY_CAUSE_NONE = 0,
    MEMORY_CAUSE_FULL = 1,      // no free block of the pool is large enough, or others wait for it
    MEMORY_CAUSE_TOO_LARGE = 2, // the request is for more than the whole pool
    MEMORY_CAUSE_NO_POOL = 3,
    MEMORY_CAUSE_LOST = 4,       // CUDA has failed for good
    MEMORY_CAUSE_NO_TABLES = 5,  // the system refuses memory for the pool's own tables
    MEMORY_CAUSE_OVER_LIMIT = 6, // the account may not have as much
};

// The figures of a failure, or of a fallback. What does not belong to it is NaN, and CUDA's error and
// the cause are 0.
struct memory_failure {
    double cuda_error; // a cudaError_t
    double requested_byte_size;
    double free_byte_size;
    double largest_free_byte_size;
    double cause; // a memory_cause
};

// Memory that was allocated, or a part of it, or memory that somebody else owns. The origin is of which
// life of its manager the memory is, so that what outlives a reset is never mistaken for memory of a
// later pool, and which owner it was allocated for: 65536 * generation + owner. What somebody else owns
// has an origin of memory_borrow() instead, and is there as long as the caller says so.
struct memory_allocation {
    double address;   // 0 where there is none
    double byte_size; // as it was asked for
    double place;     // memory_type + 4 * device_id, which is 0 for host memory
    double origin;
    double owner;        // set before a request: whom it is for, from 0 to 65535
    double block_offset; // how far into its block a part begins; 0 for what was allocated
};

// How the CUDA memory manager is created. What is not a number is 0 or 1.
struct cuda_memory_settings {
    double goes_on; // whether a pool that cannot be made costs no other
    // The same for pools that are made later; the library itself makes nothing of them.
    double min_compute_capability;
    double enables_peer_access;
};

// The memory of a GPU, whoever uses it.
struct device_memory {
    double free_byte_size;
    double total_byte_size;
};

// A queue of work for a GPU. The id tells it from every other stream, also where CUDA gives a
// handle again.
struct cuda_stream {
    double handle; // a cudaStream_t
    double device_id;
    double id;
};

// This thread's last message. Several things that went wrong have a line each.
MEMORY_EXPORT const char *memory_message(void);

// The figures of what this thread's last message says.
MEMORY_EXPORT void memory_last_failure(struct memory_failure *failure);

// The calling thread's number as an owner of memory, from 1 on; 0, which stands for the process, where
// there are more threads than numbers. What an owner holds is given back after its thread has ended.
MEMORY_EXPORT int32_t memory_owner(void);

// ---- Copies of this library in one process

// The path of the library of this version that the process loaded first; "" where it is this one.
MEMORY_EXPORT const char *library_of_process(void);

// The version and the path of a library of another version that the process has loaded too, once; ""
// where there is none, and for all later calls.
MEMORY_EXPORT const char *library_of_other_version(void);

// The path of this library, as the loader knows it.
MEMORY_EXPORT const char *library_own_path(void);

// ---- The CUDA runtime

// The absolute path at which the dynamic loader finds a library (one that is loaded already, first
// of all), or null.
MEMORY_EXPORT const char *library_path(const char *soname);

// The process has one CUDA runtime, chosen by the first thread that asks. Returns the path that
// was claimed first, which is the argument's if nobody was before; "" stands for no runtime. A null
// pointer claims nothing, and the result is null where nothing is claimed yet.
MEMORY_EXPORT const char *cudart_claim(const char *path);

// Hands over the address of a function of the claimed runtime. Functions that are not needed
// here are ignored.
MEMORY_EXPORT void cudart_bind(const char *name, void *address);

// 1 where any of the first so many GPUs has a context, or where that cannot be known; otherwise 0. It
// makes none.
MEMORY_EXPORT int32_t cuda_has_context(int32_t device_count);

// Makes a context on the GPU. The calling thread's current device stays as it is.
MEMORY_EXPORT enum memory_status cuda_device_memory(double device_id, struct device_memory *memory);

// MEMORY_DEVICE_LOST once CUDA has failed for good: then it is not called any more.
MEMORY_EXPORT enum memory_status cuda_check_lost(void);
// The same, with the message that something cannot be done, and CUDA's error.
MEMORY_EXPORT enum memory_status cuda_refuse_if_lost(const char *doing);
// Takes note of an error that a function of the runtime returned, and answers as cuda_check_lost().
MEMORY_EXPORT enum memory_status cuda_note_error(int32_t error, const char *function);
// MEMORY_OK, with a message for the log, once in the life of a process whose CUDA is lost; otherwise
// MEMORY_NOT_DONE.
MEMORY_EXPORT enum memory_status cuda_take_lost_report(void);
// The address of a uint32_t that is not 0 while there is such a report. Any call may find that CUDA is
// lost, also one that succeeds.
MEMORY_EXPORT double cuda_lost_report_address(void);

// ---- CUDA memory

// A size below 0 is a share of the GPU's memory: -80 is 80 percent. MEMORY_ALREADY_EXISTS changes
// nothing. Where one reservation fails, none stays, unless the settings are to go on: then the status is
// MEMORY_OK_WITH_WARNINGS, and the message has a line for each failure. The settings are all 0 where
// they are null.
MEMORY_EXPORT enum memory_status cuda_memory_create(const double *device_ids,
                                                    const double *byte_sizes, int32_t pool_count,
                                                    const struct cuda_memory_settings *settings);
// What the manager was created with. MEMORY_UNAVAILABLE where there is none.
MEMORY_EXPORT enum memory_status cuda_memory_read_settings(struct cuda_memory_settings *settings);
// Gives a GPU a pool of another size, or none where the size is 0, or a first one.
// MEMORY_UNAVAILABLE, and nothing has changed, where memory of its pool lives; MEMORY_OK_WITH_WARNINGS
// where CUDA refuses to take the old memory back: then it is tried again as after a reset.
MEMORY_EXPORT enum memory_status cuda_memory_resize(double device_id, double byte_size);
// Returns an address, or the status of the failure.
MEMORY_EXPORT double cuda_memory_alloc(double byte_size, double device_id);
MEMORY_EXPORT enum memory_status cuda_memory_free(double address, double device_id);
MEMORY_EXPORT enum memory_status cuda_memory_stats(double device_id,
                                                   struct memory_pool_stats *stats);
// MEMORY_UNSUPPORTED, and nothing is changed, where a stream is being captured.
MEMORY_EXPORT enum memory_status cuda_memory_reset(void);

// ---- Pinned memory

// Where the pool cannot be had, the manager exists without one, and the status is
// MEMORY_OK_WITH_WARNINGS. MEMORY_ALREADY_EXISTS changes nothing.
// The memory is of the context of the lowest GPU that has a pool, or else of this GPU. All non-pinned
// memory together takes no more than the limit, which may be INFINITY.
MEMORY_EXPORT enum memory_status pinned_memory_create(double byte_size, double device_id,
                                                      double nonpinned_limit_byte_size);
// MEMORY_FALLBACK where a fallback served, which memory_explain_fallback() explains, or
// MEMORY_OK_WITH_WARNINGS where the message has warnings of it that this process has not seen yet, and
// memory_last_failure() the cause.
// MEMORY_COLLECT_FIRST as for allocated_memory_alloc().
MEMORY_EXPORT enum memory_status pinned_memory_alloc(struct memory_allocation *allocation,
                                                     double byte_size,
                                                     int32_t allow_nonpinned_fallback);
// Pinned memory that can be had at once, for callers that have another way. Otherwise
// MEMORY_UNAVAILABLE, without a message, and no statistics count it.
MEMORY_EXPORT enum memory_status pinned_memory_try_alloc(struct memory_allocation *allocation,
                                                         double byte_size);
MEMORY_EXPORT enum memory_status pinned_memory_free(double address);
MEMORY_EXPORT enum memory_status pinned_memory_stats(struct memory_pool_stats *stats);
// The number of live allocations that fell back to the system heap. No pool's statistics have it.
MEMORY_EXPORT double pinned_memory_nonpinned_count(void);
// As cuda_memory_reset().
MEMORY_EXPORT enum memory_status pinned_memory_reset(void);

// ---- Allocated memory: CUDA memory, then pinned, then non-pinned system memory

// Memory belongs to the owner that it was allocated for, and a call that names another does not find it.

// Allocates memory for the owner that the allocation names. The place, as in the allocation, is where it
// is to lie. MEMORY_FALLBACK and MEMORY_OK_WITH_WARNINGS as for pinned_memory_alloc();
// MEMORY_COLLECT_FIRST where there is non-pinned memory only, and the owner's garbage collector may find
// better.
MEMORY_EXPORT enum memory_status allocated_memory_alloc(struct memory_allocation *allocation,
                                                        double byte_size, double place);
// Makes the message say why the thread's last call, whose status was MEMORY_FALLBACK, fell back: a line
// for each kind of memory that did not serve. memory_last_failure() has the cause then.
MEMORY_EXPORT void memory_explain_fallback(void);
// The same on terms: 4 * the key of an account, or 0, + a memory_fallback. Where nothing serves the
// request and it may fall as far as it can, the status is MEMORY_NOTHING_SERVES, with a message for the
// log.
MEMORY_EXPORT enum memory_status allocated_memory_request(struct memory_allocation *allocation,
                                                          double byte_size, double place,
                                                          double terms);
// The same for use on a stream: CUDA memory may be what the stream's earlier work still uses, or what
// the stream is made to wait for. Host memory never is.
MEMORY_EXPORT enum memory_status
allocated_memory_request_on_stream(struct memory_allocation *allocation, double byte_size,
                                   double place, double terms, const struct cuda_stream *stream);
// What MEMORY_FALLBACK_DEFAULT stands for from now on; at first MEMORY_FALLBACK_SYSTEM.
MEMORY_EXPORT void memory_set_default_fallback(double fallback);
// Frees memory. Memory whose manager was reset is gone already, and freeing it does nothing.
MEMORY_EXPORT enum memory_status allocated_memory_free(double address, double place, double origin);
// The memory goes back when all the streams, of which there is one at least, have done what they were given
// before. Where this fails the memory lives on.
MEMORY_EXPORT enum memory_status
allocated_memory_free_on_streams(const struct memory_allocation *allocation,
                                 const struct cuda_stream *streams, int32_t stream_count);
// MEMORY_UNAVAILABLE where the memory went when its manager was reset.
MEMORY_EXPORT enum memory_status allocated_memory_check(const struct memory_allocation *allocation);
// Without a stream (null) the bytes of these three are in place when they return. With one, a copy
// that a GPU takes part in is only queued on it, and the status is MEMORY_QUEUED. A copy between
// host memories is made at once in any case. Ordinary memory has been read by CUDA, or written to,
// before the call returns, which may be only when the stream has done all that it was given before.
// The caller has checked that the ranges lie inside the allocations, and that those of a copy do not
// overlap.
MEMORY_EXPORT enum memory_status allocated_memory_write(const struct memory_allocation *target,
                                                        double target_offset, const void *source,
                                                        double byte_size,
                                                        const struct cuda_stream *stream);
MEMORY_EXPORT enum memory_status allocated_memory_read(const struct memory_allocation *source,
                                                       double source_offset, void *target,
                                                       double byte_size,
                                                       const struct cuda_stream *stream);
MEMORY_EXPORT enum memory_status allocated_memory_copy(const struct memory_allocation *target,
                                                       double target_offset,
                                                       const struct memory_allocation *source,
                                                       double source_offset, double byte_size,
                                                       const struct cuda_stream *stream);
// Every byte is set when it returns.
MEMORY_EXPORT enum memory_status allocated_memory_fill(const struct memory_allocation *target,
                                                       int32_t byte);

// ---- Requests that wait

// Begins to wait for memory of the first kind, a GPU's or the pinned pool's. Returns what stands for the
// request, or how it is refused that could never be served. Memory for a stream, which may be null, may
// be what that uses, as for allocated_memory_request(), where there is such at once.
MEMORY_EXPORT double memory_wait_begin(const struct memory_allocation *allocation, double byte_size,
                                       double place, double account_key,
                                       const struct cuda_stream *stream);
// MEMORY_NOT_DONE while the request waits. Otherwise it is over, and so is what stands for it: the memory
// is there, or the status says why not.
MEMORY_EXPORT enum memory_status memory_wait_take(double wait,
                                                  struct memory_allocation *allocation);
// Gives the request up, which may have been served.
MEMORY_EXPORT enum memory_status memory_wait_end(double wait);
// Looks for what streams have done with, and what threads have left behind. MEMORY_OK_SERVED where some
// request was served; MEMORY_COLLECT_FIRST where the owner's garbage collector may help; MEMORY_NOT_DONE
// where streams still use what was freed.
MEMORY_EXPORT enum memory_status memory_wait_poll(int32_t owner);

// ---- Accounts

// The key of the account with this name, which is made where there is none; or a status.
MEMORY_EXPORT double account_open(const char *name);
// The keys of all accounts; those that nothing keeps are forgotten first. Returns how many there are, which
// may be more than were written.
MEMORY_EXPORT double account_list(double *keys, double count_max);
// Returns a record that refers to no account yet, or 0 where the system refuses memory. Its bytes are to
// be those of an ArrayBuffer with account_reference_end() as its deallocator and the record as context.
MEMORY_EXPORT double account_reference_make(void);
// Has the record refer to an account, which is not forgotten before the record's end. Returns the key; 0
// where the account was forgotten.
MEMORY_EXPORT double account_reference_begin(double reference, double key);
MEMORY_EXPORT void account_reference_end(void *bytes, void *reference);
// Copies the name, without a zero at its end, if there is room. Returns its bytes; 0 where there is none.
MEMORY_EXPORT double account_copy_name(double key, char *name, double byte_size_max);
// An infinite limit is none.
MEMORY_EXPORT double account_limit(double key);
MEMORY_EXPORT enum memory_status account_set_limit(double key, double byte_size);
// Of the memory of one place; of all together where that is negative.
MEMORY_EXPORT void account_read_stats(double key, double place, struct memory_account_stats *stats);
MEMORY_EXPORT void account_reset_peak(double key);
// The key of the account of a memory; 0 where it has none.
MEMORY_EXPORT double allocated_memory_account(const struct memory_allocation *allocation);

// ---- Who looks at memory

// Holds memory, which is then neither handed on nor given back to the system, until the hold or the
// thread that began it ends. Returns the hold's number, or a status: MEMORY_UNAVAILABLE where the memory
// is no longer there.
MEMORY_EXPORT double memory_hold_begin(const struct memory_allocation *allocation);
// Does nothing where the hold has ended.
MEMORY_EXPORT void memory_hold_end(double hold);
// Says that an ArrayBuffer of the memory has been made, whose deallocator ends the hold from now on,
// whatever becomes of the thread. Where the thread ends before, nobody looks through that buffer.
MEMORY_EXPORT void memory_view_begin(double hold);
// That deallocator. Its context is the hold's number.
MEMORY_EXPORT void memory_view_end(void *bytes, void *hold);
// MEMORY_OK where nobody holds the memory, or MEMORY_NOT_DONE.
MEMORY_EXPORT enum memory_status memory_hold_query(const struct memory_allocation *allocation);

// Returns the origin of memory that somebody else owns, a number below 0 that no other memory of the
// process has. Nothing is freed of such memory, and no reset takes it away.
MEMORY_EXPORT double memory_borrow(void);

// The address of a uint32_t that changes whenever host memory is reset, by whatever thread.
MEMORY_EXPORT double host_memory_reset_count_address(void);

// ---- Memory that the garbage collector finds

// Returns a record of the memory, or 0 where the system refuses memory. The record's bytes are to be
// those of an ArrayBuffer with collected_memory_note() as its deallocator and the record as context. A
// record that is not 0 is one that was unwatched, with its ArrayBuffer, and is used again.
MEMORY_EXPORT double collected_memory_watch(double record, double address, double byte_size,
                                            double place, double origin);
// The memory is freed, and the end of its record says nothing.
MEMORY_EXPORT void collected_memory_unwatch(double record);
MEMORY_EXPORT void collected_memory_note(void *bytes, void *record);
// Takes one memory that was collected; MEMORY_NOT_DONE where there is none. For the owner's thread.
MEMORY_EXPORT enum memory_status collected_memory_take(int32_t owner,
                                                       struct memory_allocation *allocation);
// Says that the collector was asked for the owner, and whether it found something.
MEMORY_EXPORT void collected_memory_asked(int32_t owner, int32_t has_found);

// ---- From thread to thread

// Takes memory from its owner. Returns a number that stands for it, or a status: MEMORY_UNAVAILABLE
// where the memory is no longer the owner's or is in use.
MEMORY_EXPORT double memory_detach(const struct memory_allocation *allocation);
// Gives what was detached to the owner that the allocation names, once.
MEMORY_EXPORT enum memory_status memory_attach(struct memory_allocation *allocation, double id);

// ---- Streams

MEMORY_EXPORT enum memory_status cuda_stream_create(struct cuda_stream *stream, double device_id);
// A stream of somebody else, until cuda_stream_destroy(), which leaves it as it is. Its handle, which is 0
// for the legacy default stream, is used only in calls that name the stream. Two that have the same handle
// at a time have the same id. MEMORY_UNSUPPORTED for the default stream of each thread.
MEMORY_EXPORT enum memory_status cuda_stream_borrow(struct cuda_stream *stream, double handle,
                                                    double device_id);
// Work that is under way goes on. A stream that CUDA refuses to destroy is kept as a released one.
MEMORY_EXPORT enum memory_status cuda_stream_destroy(const struct cuda_stream *stream);
// A stream that was released, by whatever thread, or else a new one. Released streams are kept
// until a manager is reset.
MEMORY_EXPORT enum memory_status cuda_stream_acquire(struct cuda_stream *stream, double device_id);
MEMORY_EXPORT void cuda_stream_release(const struct cuda_stream *stream);
// MEMORY_OK where all work is done, or MEMORY_NOT_DONE. An error of the work is returned once.
MEMORY_EXPORT enum memory_status cuda_stream_query(const struct cuda_stream *stream);
MEMORY_EXPORT enum memory_status cuda_stream_synchronize(const struct cuda_stream *stream);
// Makes what the stream is given from now on come after what the other was given so far; the caller does
// not wait.
MEMORY_EXPORT enum memory_status cuda_stream_wait_for(const struct cuda_stream *stream,
                                                      const struct cuda_stream *other);
// MEMORY_UNSUPPORTED where any stream that is not borrowed is being captured, so that nothing can be reset;
// else the status of the failure where CUDA cannot tell of one.
MEMORY_EXPORT enum memory_status cuda_stream_check_all(void);
// How many errors of the stream's work have been found so far, by whatever thread and call; and the last
// of them, as a status with a message, if there are more than this.
MEMORY_EXPORT double cuda_stream_error_count(const struct cuda_stream *stream);
MEMORY_EXPORT enum memory_status cuda_stream_error_since(const struct cuda_stream *stream,
                                                         double error_count);

// Returns an event for the point after all that the stream has been given so far, which must be
// released; or the status of the failure.
MEMORY_EXPORT double cuda_event_record(const struct cuda_stream *stream);
// As cuda_stream_query(), of the work up to that point.
MEMORY_EXPORT enum memory_status cuda_event_query(double event);
// MEMORY_OK only where CUDA says that the work up to that point is over, or is lost; else
// MEMORY_NOT_DONE. An error is counted as the stream's, and does not tell whether the work is over.
MEMORY_EXPORT enum memory_status cuda_event_is_over(double event);
MEMORY_EXPORT void cuda_event_release(double event);

// ---- Peer access

// Lets each of these GPUs use the others' memory directly, where the hardware can. Goes on after a
// failure; the message has a line for each.
MEMORY_EXPORT enum memory_status peer_access_enable(const double *device_ids, int32_t device_count);

#endif
