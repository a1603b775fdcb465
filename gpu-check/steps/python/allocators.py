"""Times the allocators of PyTorch and CuPy, as Python calls them, on the requests of the check.

    python3 allocators.py ORDER.json

Says what it finds in messages (see harness/child/messages.ts): a figure of each allocator for each
row, and what had to be left out. The rounds are interleaved: each allocator runs once in each, a
different one first.
"""

import gc
import json
import sys
from time import perf_counter_ns

# What is timed. An allocator's calls are inserted as text, so that no other call of Python's comes
# on top of them.
LOOPS = """
def one_block(byte_size, pair_count):
    start = perf_counter_ns()
    for _ in range(pair_count):
        block = {allocate}
        {free}
    return perf_counter_ns() - start

def fill(byte_sizes):
    blocks = []
    for byte_size in byte_sizes:
        blocks.append({allocate})
    return blocks

def replacement(blocks, places, byte_sizes, position, pair_count):
    length = len(places)
    start = perf_counter_ns()
    for _ in range(pair_count):
        place = places[position]
        byte_size = byte_sizes[position]
        block = blocks[place]
        blocks[place] = None
        {free}
        blocks[place] = {allocate}
        position += 1
        if position == length:
            position = 0
    return perf_counter_ns() - start, position
"""


def tell(finding):
    print(json.dumps(finding), flush=True)


def left_out(name, reason):
    tell({"kind": "skipped", "name": name, "reason": reason})


class Allocator:
    """An allocator's loops. `names` is what its text refers to."""

    def __init__(self, name, allocate, free, names):
        self.name = name
        self.loops = {"perf_counter_ns": perf_counter_ns, **names}
        exec(LOOPS.format(allocate=allocate, free=free), self.loops)


def pytorch(device_id):
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch sees no GPU")
    torch.cuda.set_device(device_id)
    torch.cuda.init()
    return torch


def pytorch_tensors(device_id):
    torch = pytorch(device_id)
    names = {
        "empty": torch.empty,
        "uint8": torch.uint8,
        "device": torch.device("cuda", device_id),
    }
    on_gpu = "empty(byte_size, dtype=uint8, device=device)"
    pinned = "empty(byte_size, dtype=uint8, pin_memory=True)"
    return {
        "GPU": [Allocator("PyTorch, torch.empty", on_gpu, "del block", names)],
        "CPU_PINNED": [Allocator("PyTorch, torch.empty pinned", pinned, "del block", names)],
    }


def pytorch_caching_allocator(device_id):
    torch = pytorch(device_id)
    names = {
        "stream": torch.cuda.current_stream().cuda_stream,
        # torch.cuda.caching_allocator_alloc and _delete call these two, and do more besides.
        "alloc": torch._C._cuda_cudaCachingAllocator_raw_alloc,
        "delete": torch._C._cuda_cudaCachingAllocator_raw_delete,
    }
    allocator = Allocator(
        "PyTorch, caching allocator", "alloc(byte_size, stream)", "delete(block)", names
    )
    return {"GPU": [allocator]}


def cupy_pools(device_id):
    import cupy

    cupy.cuda.Device(device_id).use()
    pool = {"malloc": cupy.cuda.MemoryPool().malloc}
    pinned_pool = {"malloc": cupy.cuda.PinnedMemoryPool().malloc}
    return {
        "GPU": [Allocator("CuPy, memory pool", "malloc(byte_size)", "del block", pool)],
        "CPU_PINNED": [
            Allocator("CuPy, pinned memory pool", "malloc(byte_size)", "del block", pinned_pool)
        ],
    }


def nothing(device_id):
    del device_id
    return {
        memory_type: [Allocator("Python, the loop alone", "byte_size", "del block", {})]
        for memory_type in ("GPU", "CPU_PINNED")
    }


OPENERS = {
    "PyTorch's caching allocator": pytorch_caching_allocator,
    "PyTorch's tensors": pytorch_tensors,
    "CuPy's pools": cupy_pools,
    "the loop alone": nothing,
}


def opened_allocators(device_id):
    opened = {"GPU": [], "CPU_PINNED": []}
    for name, open_allocators in OPENERS.items():
        try:
            for memory_type, allocators in open_allocators(device_id).items():
                opened[memory_type] += allocators
        except Exception as error:  # whatever keeps it from running here is the reason
            left_out(name, f"{type(error).__name__}: {error}")
    return opened


class Contestant:
    """An allocator that is measured at a row, with the row's blocks."""

    def __init__(self, allocator, row, sequence, slice_ns):
        self.name = allocator.name
        self.loops = allocator.loops
        self.workload = row["workload"]
        self.places, self.byte_sizes = sequence["places"], sequence["byteSizes"]
        self.position = 0
        if self.workload["kind"] == "replacement":
            live_count = self.workload["liveBlockCount"]
            self.blocks = self.loops["fill"](self.byte_sizes[:live_count])
        self.pair_count = self.calibrated(slice_ns)

    def time_pairs(self, pair_count):
        if self.workload["kind"] == "one block":
            return self.loops["one_block"](self.workload["byteSize"], pair_count)
        ns, self.position = self.loops["replacement"](
            self.blocks, self.places, self.byte_sizes, self.position, pair_count
        )
        return ns

    def calibrated(self, slice_ns):
        """Also warms up, since a caching allocator is slow with sizes that it has not met."""
        pair_count = 64
        while (ns := self.time_pairs(pair_count)) < slice_ns:
            pair_count *= 2
        return max(1, int(pair_count * slice_ns / ns))

    def measure(self):
        self.time_pairs((self.pair_count + 1) // 2)
        return self.time_pairs(self.pair_count) / self.pair_count


def prepared(allocator, row, order):
    try:
        return Contestant(allocator, row, order["sequence"], order["effort"]["sliceNanoseconds"])
    except Exception as error:
        left_out(f"{row['name']}: {allocator.name}", f"{type(error).__name__}: {error}")
        return None


def measure_row(row, allocators, order):
    made = (prepared(allocator, row, order) for allocator in allocators)
    contestants = [contestant for contestant in made if contestant is not None]
    rounds = {contestant.name: [] for contestant in contestants}
    for round_number in range(order["effort"]["roundCount"]):
        first = round_number % len(contestants)
        for contestant in contestants[first:] + contestants[:first]:
            rounds[contestant.name].append(contestant.measure())
    for name, figures in rounds.items():
        tell(
            {
                "kind": "figure",
                "row": row["name"],
                "contestant": name,
                "unit": "ns",
                "rounds": figures,
            }
        )


def main():
    with open(sys.argv[1]) as file:
        order = json.load(file)
    gc.disable()  # as timeit does
    opened = opened_allocators(order["deviceId"])
    for row in order["rows"]:
        measure_row(row, opened[row["memoryType"]], order)


main()
