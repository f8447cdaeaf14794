// A producer in C++ that throws, returns and reads what a message asks for: for tests.
#include <cobuf.h>
#include <stdexcept>

namespace {

int schema(cobuf_call *call, const cobuf_dict *)
{
    const std::size_t shape[] = {4};
    return cobuf_declare(call, "x", COBUF_F64, 1, shape);
}

int open_producer(cobuf_call *, const cobuf_dict *, const cobuf_worker *, void **) { return COBUF_OK; }

void read_tile()
{
    try {
        throw std::runtime_error("tile 3 is damaged");
    } catch (...) {
        std::throw_with_nested(std::runtime_error("cannot read the slide"));
    }
}

int produce(cobuf_call *call, void *, const cobuf_job *job)
{
    double *x = static_cast<double *>(job->arrays[0].data);
    return cobuf::guarded(call, [&]() -> int {
        const bool draws = cobuf_has(call, job->message, "draws") != 0;
        if (cobuf_has(call, job->message, "nested")) read_tile();
        if (cobuf_has(call, job->message, "nameless")) throw 7;
        if (cobuf_has(call, job->message, "fails")) return cobuf_fail(call, "asked to fail");
        if (!draws) return cobuf_get_floats(call, job->message, "weights", x, 4);
        for (int n = 0; n < 2; n++) x[n] = static_cast<double>(cobuf_random_below(call, 6));
        for (int n = 2; n < 4; n++) x[n] = cobuf_random_between(call, -3, -1);
        return cobuf_random_below(call, 0) == 0 ? COBUF_OK : COBUF_ERROR;
    });
}

const cobuf_producer producer = {nullptr, schema, open_producer, produce, nullptr};

} // namespace

COBUF_EXPORT_PRODUCER("guarded-producer", "0.1.0", producer)
