# What NVIDIA's client of the protocol does with the gateway at the address that it is called with.
# It ends with 0 where all went well.

import sys

import numpy
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

address, key = sys.argv[1:]


def headers():
    """A new one each time: the client adds to what it is given."""
    return {"Authorization": f"Bearer {key}"}


def tensor(name, values, datatype, binary=True):
    tensor = InferInput(name, values.shape, datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


def output(name, binary):
    return InferRequestedOutput(name, binary_data=binary)


def expect_refusal(status, call):
    try:
        call()
    except InferenceServerException as error:
        assert error.status() == status, error
    else:
        raise AssertionError(f"not refused with {status}")


client = InferenceServerClient(address)

assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready("simple", headers=headers())
assert client.is_model_ready("simple", "1", headers=headers())
assert not client.is_model_ready("absent", headers=headers())
assert "binary_tensor_data" in client.get_server_metadata(headers=headers())["extensions"]
metadata = client.get_model_metadata("simple", headers=headers())
assert [each["name"] for each in metadata["inputs"]] == ["INPUT0", "INPUT1"], metadata
config = client.get_model_config("simple", headers=headers())
assert config["max_batch_size"] == 64 and config["input"][0]["data_type"] == "TYPE_INT32", config
index = client.get_model_repository_index(headers=headers())
assert {"name": "identity", "version": "1", "state": "READY"} in index, index

# Sums and differences, each tensor both as binary data and as JSON.
left = numpy.arange(32, dtype=numpy.int32).reshape(2, 16)
right = numpy.full((2, 16), -3, dtype=numpy.int32)
for binary in (True, False):
    inputs = [
        tensor("INPUT0", left, "INT32", binary),
        tensor("INPUT1", right, "INT32", not binary),
    ]
    for outputs in (None, [output("OUTPUT1", binary), output("OUTPUT0", not binary)]):
        result = client.infer("simple", inputs, outputs=outputs, request_id="x", headers=headers())
        assert result.get_response()["id"] == "x"
        assert (result.as_numpy("OUTPUT0") == left + right).all()
        assert (result.as_numpy("OUTPUT1") == left - right).all()

# Texts.
texts = numpy.array([["a", "", "ü" * 1000]], dtype=numpy.object_)
for binary in (True, False):
    inputs = [tensor("INPUT0", texts, "BYTES", binary)]
    outputs = [output("OUTPUT0", binary)]
    result = client.infer("simple_identity", inputs, outputs=outputs, headers=headers())
    wanted = [text.encode() if binary else text for text in texts[0]]
    assert list(result.as_numpy("OUTPUT0")[0]) == wanted

# Sizes that are sent and answered whole, and that stream.
for byte_size in (0, 1, 100_000, 1_000_000, 32 << 20):
    values = numpy.random.default_rng(1).integers(0, 256, (1, byte_size), dtype=numpy.uint8)
    result = client.infer("identity", [tensor("INPUT0", values, "UINT8")], headers=headers())
    assert (result.as_numpy("OUTPUT0") == values).all(), byte_size

# Many at once, on connections of their own.
many = InferenceServerClient(address, concurrency=8)
requests = []
for number in range(100):
    values = numpy.full((1, 16), number, dtype=numpy.int32)
    inputs = [tensor("INPUT0", values, "INT32"), tensor("INPUT1", values, "INT32")]
    requests.append(many.async_infer("simple", inputs, headers=headers()))
for number, request in enumerate(requests):
    result = request.get_result()
    assert (result.as_numpy("OUTPUT0") == 2 * number).all(), number

# Refusals, of large bodies too, of which the client sends all before it listens.
large = [tensor("INPUT0", numpy.zeros((1, 32 << 20), dtype=numpy.uint8), "UINT8")]
expect_refusal("401", lambda: client.infer("identity", large))
expect_refusal("401", lambda: client.get_server_metadata())
expect_refusal("404", lambda: client.infer("absent", large, headers=headers()))
expect_refusal("400", lambda: client.infer("simple", large, headers=headers()))
expect_refusal(
    "415",
    lambda: client.infer(
        "identity", large, headers=headers(), request_compression_algorithm="gzip"
    ),
)
client.close()
many.close()
