import type { FFIFunction } from "bun:ffi";

/** The functions of `c/bun_cuda_memory.h`. The tests have a compiler compare the two. */
export const memorySymbols = {
  memory_message: { args: [], returns: "cstring" },
  memory_last_failure: { args: ["ptr"], returns: "void" },
  memory_owner: { args: [], returns: "i32" },

  library_of_process: { args: [], returns: "cstring" },
  library_of_other_version: { args: [], returns: "cstring" },
  library_own_path: { args: [], returns: "cstring" },

  library_path: { args: ["ptr"], returns: "cstring" },
  cudart_claim: { args: ["ptr"], returns: "cstring" },
  cudart_bind: { args: ["ptr", "ptr"], returns: "void" },

  cuda_has_context: { args: ["i32"], returns: "i32" },
  cuda_device_memory: { args: ["f64", "ptr"], returns: "i32" },
  cuda_check_lost: { args: [], returns: "i32" },
  cuda_refuse_if_lost: { args: ["ptr"], returns: "i32" },
  cuda_note_error: { args: ["i32", "ptr"], returns: "i32" },
  cuda_take_lost_report: { args: [], returns: "i32" },
  cuda_lost_report_address: { args: [], returns: "f64" },

  cuda_memory_create: { args: ["ptr", "ptr", "i32", "ptr"], returns: "i32" },
  cuda_memory_read_settings: { args: ["ptr"], returns: "i32" },
  cuda_memory_resize: { args: ["f64", "f64"], returns: "i32" },
  cuda_memory_alloc: { args: ["f64", "f64"], returns: "f64" },
  cuda_memory_free: { args: ["f64", "f64"], returns: "i32" },
  cuda_memory_stats: { args: ["f64", "ptr"], returns: "i32" },
  cuda_memory_reset: { args: [], returns: "i32" },

  pinned_memory_create: { args: ["f64", "f64", "f64"], returns: "i32" },
  pinned_memory_alloc: { args: ["buffer", "f64", "i32"], returns: "i32" },
  pinned_memory_try_alloc: { args: ["buffer", "f64"], returns: "i32" },
  pinned_memory_free: { args: ["f64"], returns: "i32" },
  pinned_memory_stats: { args: ["ptr"], returns: "i32" },
  pinned_memory_nonpinned_count: { args: [], returns: "f64" },
  pinned_memory_reset: { args: [], returns: "i32" },

  allocated_memory_alloc: { args: ["buffer", "f64", "f64"], returns: "i32" },
  allocated_memory_request: { args: ["buffer", "f64", "f64", "f64"], returns: "i32" },
  allocated_memory_request_on_stream: {
    args: ["buffer", "f64", "f64", "f64", "ptr"],
    returns: "i32",
  },
  memory_set_default_fallback: { args: ["f64"], returns: "void" },
  memory_explain_fallback: { args: [], returns: "void" },
  allocated_memory_free: { args: ["f64", "f64", "f64"], returns: "i32" },
  allocated_memory_free_on_streams: { args: ["ptr", "ptr", "i32"], returns: "i32" },
  allocated_memory_check: { args: ["ptr"], returns: "i32" },
  allocated_memory_write: { args: ["ptr", "f64", "ptr", "f64", "ptr"], returns: "i32" },
  allocated_memory_read: { args: ["ptr", "f64", "ptr", "f64", "ptr"], returns: "i32" },
  allocated_memory_fill: { args: ["ptr", "i32"], returns: "i32" },
  allocated_memory_copy: { args: ["ptr", "f64", "ptr", "f64", "f64", "ptr"], returns: "i32" },

  memory_wait_begin: { args: ["buffer", "f64", "f64", "f64", "ptr"], returns: "f64" },
  memory_wait_take: { args: ["f64", "buffer"], returns: "i32" },
  memory_wait_end: { args: ["f64"], returns: "i32" },
  memory_wait_poll: { args: ["i32"], returns: "i32" },

  account_open: { args: ["ptr"], returns: "f64" },
  account_list: { args: ["buffer", "f64"], returns: "f64" },
  account_reference_make: { args: [], returns: "f64" },
  account_reference_begin: { args: ["f64", "f64"], returns: "f64" },
  account_reference_end: { args: ["ptr", "ptr"], returns: "void" },
  account_copy_name: { args: ["f64", "ptr", "f64"], returns: "f64" },
  account_limit: { args: ["f64"], returns: "f64" },
  account_set_limit: { args: ["f64", "f64"], returns: "i32" },
  account_read_stats: { args: ["f64", "f64", "ptr"], returns: "void" },
  account_reset_peak: { args: ["f64"], returns: "void" },
  allocated_memory_account: { args: ["ptr"], returns: "f64" },

  memory_hold_begin: { args: ["ptr"], returns: "f64" },
  memory_hold_end: { args: ["f64"], returns: "void" },
  memory_view_begin: { args: ["f64"], returns: "void" },
  memory_view_end: { args: ["ptr", "ptr"], returns: "void" },
  memory_hold_query: { args: ["ptr"], returns: "i32" },
  memory_borrow: { args: [], returns: "f64" },
  host_memory_reset_count_address: { args: [], returns: "f64" },

  collected_memory_watch: { args: ["f64", "f64", "f64", "f64", "f64"], returns: "f64" },
  collected_memory_unwatch: { args: ["f64"], returns: "void" },
  collected_memory_note: { args: ["ptr", "ptr"], returns: "void" },
  collected_memory_take: { args: ["i32", "buffer"], returns: "i32" },
  collected_memory_asked: { args: ["i32", "i32"], returns: "void" },

  memory_detach: { args: ["ptr"], returns: "f64" },
  memory_attach: { args: ["buffer", "f64"], returns: "i32" },

  cuda_stream_create: { args: ["ptr", "f64"], returns: "i32" },
  cuda_stream_borrow: { args: ["ptr", "f64", "f64"], returns: "i32" },
  cuda_stream_destroy: { args: ["ptr"], returns: "i32" },
  cuda_stream_acquire: { args: ["ptr", "f64"], returns: "i32" },
  cuda_stream_release: { args: ["ptr"], returns: "void" },
  cuda_stream_query: { args: ["ptr"], returns: "i32" },
  cuda_stream_synchronize: { args: ["ptr"], returns: "i32" },
  cuda_stream_wait_for: { args: ["ptr", "ptr"], returns: "i32" },
  cuda_stream_check_all: { args: [], returns: "i32" },
  cuda_stream_error_count: { args: ["ptr"], returns: "f64" },
  cuda_stream_error_since: { args: ["ptr", "f64"], returns: "i32" },

  cuda_event_record: { args: ["ptr"], returns: "f64" },
  cuda_event_query: { args: ["f64"], returns: "i32" },
  cuda_event_is_over: { args: ["f64"], returns: "i32" },
  cuda_event_release: { args: ["f64"], returns: "void" },

  peer_access_enable: { args: ["ptr", "i32"], returns: "i32" },
} as const satisfies Record<string, FFIFunction>;

/** The values of `enum memory_status`. */
export const memoryStatus = {
  MEMORY_OK: 0,
  MEMORY_OK_WITH_WARNINGS: 1,
  MEMORY_QUEUED: 2,
  MEMORY_NOT_DONE: 3,
  MEMORY_COLLECT_FIRST: 4,
  MEMORY_FALLBACK: 5,
  MEMORY_OK_SERVED: 6,
  MEMORY_NOTHING_SERVES: 7,
  MEMORY_ACCOUNT_ENDED: 8,
  MEMORY_UNKNOWN: -1,
  MEMORY_INTERNAL: -2,
  MEMORY_NOT_FOUND: -3,
  MEMORY_INVALID_ARG: -4,
  MEMORY_UNAVAILABLE: -5,
  MEMORY_UNSUPPORTED: -6,
  MEMORY_ALREADY_EXISTS: -7,
  MEMORY_OUT_OF_MEMORY: -8,
  MEMORY_OUT_OF_RANGE: -9,
  MEMORY_DEVICE_LOST: -10,
} as const;

/** The values of `enum memory_cause`. */
export const memoryCause = {
  MEMORY_CAUSE_NONE: 0,
  MEMORY_CAUSE_FULL: 1,
  MEMORY_CAUSE_TOO_LARGE: 2,
  MEMORY_CAUSE_NO_POOL: 3,
  MEMORY_CAUSE_LOST: 4,
  MEMORY_CAUSE_NO_TABLES: 5,
  MEMORY_CAUSE_OVER_LIMIT: 6,
} as const;

/** The values of `enum memory_fallback`. */
export const memoryFallback = {
  MEMORY_FALLBACK_DEFAULT: 0,
  MEMORY_FALLBACK_SYSTEM: 1,
  MEMORY_FALLBACK_PINNED: 2,
  MEMORY_FALLBACK_NONE: 3,
} as const;

/** The values of `enum memory_type`. */
export const memoryTypeNumber = { MEMORY_CPU: 0, MEMORY_CPU_PINNED: 1, MEMORY_GPU: 2 } as const;

/** The places of the members of `struct memory_failure`, counted in doubles. */
export const memoryFailure = {
  cuda_error: 0,
  requested_byte_size: 1,
  free_byte_size: 2,
  largest_free_byte_size: 3,
  cause: 4,
} as const;

/** The places of the members of `struct memory_allocation`, counted in doubles. */
export const memoryAllocation = {
  address: 0,
  byte_size: 1,
  place: 2,
  origin: 3,
  owner: 4,
  block_offset: 5,
} as const;

/** The places of the members of `struct cuda_memory_settings`, counted in doubles. */
export const cudaMemorySettings = {
  goes_on: 0,
  min_compute_capability: 1,
  enables_peer_access: 2,
} as const;

/** The places of the members of `struct device_memory`, counted in doubles. */
export const deviceMemory = { free_byte_size: 0, total_byte_size: 1 } as const;

/** The places of the members of `struct cuda_stream`, counted in doubles. */
export const cudaStream = { handle: 0, device_id: 1, id: 2 } as const;

/** The places of the members of `struct memory_pool_stats`, counted in doubles. */
export const memoryPoolStats = {
  capacity_byte_size: 0,
  used_byte_size: 1,
  peak_used_byte_size: 2,
  free_byte_size: 3,
  largest_free_byte_size: 4,
  allocation_count: 5,
  failed_allocation_count: 6,
  set_aside_byte_size: 7,
  detached_byte_size: 8,
  nonpinned_byte_size: 9,
  waiting_count: 10,
} as const;

/** The places of the members of `struct memory_account_stats`, counted in doubles. */
export const memoryAccountStats = {
  used_byte_size: 0,
  peak_used_byte_size: 1,
  allocation_count: 2,
  cumulative_allocation_count: 3,
  cumulative_byte_size: 4,
  failed_allocation_count: 5,
  fallback_count: 6,
} as const;

/** The bytes of a record of `collected_memory_watch()` that an ArrayBuffer may have. */
export const collectedMemoryRecordByteSize = 8;
