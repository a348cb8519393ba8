/**
 * A workload that shows that the GPUs take work: 64 MiB of random bytes go to each GPU and come back the same, over the
 * path that is encrypted in confidential mode. The driver's own library is all that it needs. The last line of its output
 * is {@link SAMPLE_DONE}; any CUDA error ends it with status 1 and the name of the call.
 */
export const SAMPLE_DONE = "all GPUs gave back what they were given";

const TEXT = `import ctypes, os
cuda = ctypes.CDLL("libcuda.so.1")
def call(name, *args):
    code = getattr(cuda, name)(*args)
    if code != 0:
        raise SystemExit(f"{name}: CUDA error {code}")
call("cuInit", 0)
count = ctypes.c_int()
call("cuDeviceGetCount", ctypes.byref(count))
if count.value == 0:
    raise SystemExit("no GPU")
size = ctypes.c_size_t(64 << 20)
sent = os.urandom(size.value)
for n in range(count.value):
    device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    back = ctypes.create_string_buffer(size.value)
    call("cuDeviceGet", ctypes.byref(device), n)
    call("cuCtxCreate_v2", ctypes.byref(context), 0, device)
    call("cuMemAlloc_v2", ctypes.byref(memory), size)
    call("cuMemcpyHtoD_v2", memory, sent, size)
    call("cuMemcpyDtoH_v2", back, memory, size)
    if back.raw != sent:
        raise SystemExit(f"GPU {n}: other bytes came back")
    call("cuCtxDestroy_v2", context)
    print(f"GPU {n}: 64 MiB there and back")
print("${SAMPLE_DONE}")
`;

export const SAMPLE_WORKLOAD: readonly string[] = ["python3", "-c", TEXT];
