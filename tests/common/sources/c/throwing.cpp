// A producer whose exception leaves `produce`, where the message asks for that: for tests.
#include <cobuf.h>
#include <stdexcept>

static int schema(cobuf_call *call, const cobuf_dict *) {
    const size_t shape[] = {1};
    return cobuf_declare(call, "x", COBUF_U8, 1, shape);
}

static int open_producer(cobuf_call *, const cobuf_dict *, const cobuf_worker *, void **) { return COBUF_OK; }

static int produce(cobuf_call *call, void *, const cobuf_job *job) {
    if (cobuf_has(call, job->message, "throw")) throw std::runtime_error("nobody catches this");
    *static_cast<uint8_t *>(job->arrays[0].data) = 1;
    return COBUF_OK;
}

static const cobuf_producer producer = {nullptr, schema, open_producer, produce, nullptr};
COBUF_EXPORT_PRODUCER("throwing-producer", "0.1.0", producer)
