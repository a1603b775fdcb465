// Reads the input's bytes as calls of a pool, each of which is compared with the model.

#include <stddef.h>

#include "check.h"
#include "checked_pool.h"

static const uint64_t GRANULE = POOL_GRANULE_BYTE_SIZE;

// The rest of the input. After its end every byte is 0.
struct input {
    const uint8_t *bytes;
    size_t byte_count;
};

static uint64_t consume(struct input *input, size_t byte_count)
{
    uint64_t number = 0;
    for (size_t i = 0; i < byte_count && input->byte_count > 0; i++) {
        number = number << 8 | *input->bytes++;
        input->byte_count--;
    }
    return number;
}

// Makes a size of two bytes: six leading bits, how many bits follow, and whether they are 0 or 1.
static uint64_t consume_scaled(struct input *input)
{
    uint64_t leading = consume(input, 1), exponent = consume(input, 1) % 40;
    uint64_t below = (UINT64_C(1) << exponent) - 1;
    return (leading >> 1 | 64) << exponent | ((leading & 1) != 0 ? below : 0);
}

static uint64_t consume_granule_count(struct input *input)
{
    switch (consume(input, 1) % 4) {
    case 0:
        return 1 + consume(input, 1) % 64;
    case 1:
        return 1 + consume(input, 2) % 8192;
    default: {
        uint64_t granule_count = consume_scaled(input);
        return granule_count > UINT64_C(1) << 44 ? UINT64_C(1) << 44 : granule_count;
    }
    }
}

static void open_some(struct checked_pool *checked, struct input *input)
{
    uint64_t base = (1 + consume(input, 1)) * GRANULE;
    checked_open(checked, base, consume_granule_count(input) * GRANULE);
}

static uint64_t live_address(const struct checked_pool *checked, struct input *input)
{
    const struct pool_model *model = &checked->model;
    uint64_t choice = consume(input, 1);
    if (model->block_count == 0) return model->base + choice * GRANULE;
    // The index counts from both ends: the latest allocation is mostly near one of them.
    size_t index = (choice >> 1) % model->block_count;
    return pool_model_address(model, (choice & 1) != 0 ? model->block_count - 1 - index : index);
}

static void free_wrong(struct checked_pool *checked, struct input *input)
{
    uint64_t address = live_address(checked, input);
    uint64_t end = checked->model.base + checked->model.granule_count * GRANULE;
    switch (consume(input, 1) % 8) {
    case 0:
        checked_free(checked, address + GRANULE * consume(input, 1), 0);
        break;
    case 1:
        checked_free(checked, address + 1 + consume(input, 2), 0);
        break;
    case 2:
        checked_free(checked, checked->model.base - GRANULE, 0);
        break;
    case 3:
        checked_free(checked, end, 0);
        break;
    case 4:
        checked_free(checked, end - GRANULE, 0);
        break;
    case 5:
        checked_free(checked, address, checked->generation + 1);
        break;
    case 6:
        checked_free(checked, address, checked->generation - 1);
        break;
    default:
        checked_free(checked, consume(input, 8), consume(input, 1));
    }
}

static void use_mark(struct checked_pool *checked, struct input *input)
{
    uint64_t address = live_address(checked, input);
    uint64_t kind = consume(input, 1);
    uint64_t generation = kind & 128 ? checked->generation : kind & 64 ? 0 : kind & 32;
    switch (kind % 8) {
    default:
        checked_use_mark(checked, consume(input, 1), address, generation);
        break;
    case 6:
        checked_use_mark(checked, consume(input, 1), address + consume(input, 1), generation);
        break;
    case 7:
        checked_use_mark(checked, consume(input, 1), address + GRANULE * consume(input, 1),
                         generation);
    }
}

// Nearly the size of a live block, so that only some blocks of a full bin are large enough.
static uint64_t consume_alike(const struct checked_pool *checked, struct input *input)
{
    const struct pool_model *model = &checked->model;
    uint64_t choice = consume(input, 1), more = consume(input, 1);
    if (model->block_count == 0) return more;
    uint64_t granule_count = model->blocks[choice % model->block_count].granule_count;
    return granule_count + granule_count / 128 * (more % 16) / 16;
}

// Closing and refusing are rare, because the pool loses the state that the input has built.
static void end_something(struct checked_pool *checked, uint64_t choice)
{
    if (choice == 0) checked_close(checked);
    else if (choice == 1) checked_refuse(checked);
    else checked_free_all(checked);
}

static void run_call(struct checked_pool *checked, struct input *input)
{
    uint64_t gap = pool_model_largest_gap(&checked->model) * GRANULE;
    switch (consume(input, 1) % 16) {
    case 0:
    case 1:
        checked_alloc(checked, (1 + consume(input, 1)) * GRANULE);
        break;
    case 2:
    case 3:
        checked_alloc(checked, consume_alike(checked, input) * GRANULE);
        break;
    case 4:
        checked_alloc(checked, consume(input, 2));
        break;
    case 5:
    case 6:
        checked_alloc(checked, consume_scaled(input) * GRANULE);
        break;
    case 7:
        checked_alloc(checked, gap);
        break;
    case 8:
        checked_alloc(checked, gap + 1);
        break;
    case 9:
        checked_alloc(checked, consume(input, 8));
        break;
    case 10:
    case 11:
        checked_free(checked, live_address(checked, input), checked->generation);
        break;
    case 12:
        use_mark(checked, input);
        break;
    case 13:
        free_wrong(checked, input);
        break;
    case 14:
        open_some(checked, input); // An open pool refuses it.
        break;
    default:
        end_something(checked, consume(input, 1) % 8);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t byte_count);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t byte_count)
{
    static struct checked_pool checked;
    struct input input = {bytes, byte_count};
    // Verifying may bring the pool's lists into order and so hide a fault: it comes after every call
    // or rarely.
    uint64_t verified_every = consume(&input, 1) % 2 == 0 ? 1 : 64;
    open_some(&checked, &input);
    for (uint64_t call = 1; input.byte_count > 0; call++) {
        run_call(&checked, &input);
        if (call % verified_every == 0) checked_verify(&checked);
    }
    checked_verify(&checked);
    checked_free_all(&checked);
    checked_verify(&checked);
    checked_close(&checked);
    return 0;
}
