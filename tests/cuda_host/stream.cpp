/*
 * Streams are queues that run when something synchronises with them; events are all that orders one
 * stream against another. A stream that captures appends to its graph instead.
 */
#include "tests/cuda_host/engine.h"

#include <deque>
#include <memory>
#include <set>
#include <time.h>

using eqi_host::finish;
using eqi_host::Lock;
using eqi_host::Task;

namespace
{
struct Fork {
    cudaStream_t stream;
    int64_t joined; /* operations of it that another stream has waited for */
};

struct Capture {
    cudaStream_t origin;
    std::vector<Fork> forks;
    std::shared_ptr<std::vector<Task>> tasks;
    bool valid;
};

/* One call of cudaEventRecord. */
struct Record {
    cudaStream_t stream;
    std::shared_ptr<Capture> capture;
    int64_t operation;
    bool done;
    double seconds;
};
} // namespace

struct CUstream_st {
    int device;
    std::deque<Task> queue;
    std::shared_ptr<Capture> capture;
    int64_t operations;
    bool asked; /* a query has answered "not ready" */
};

struct CUevent_st {
    bool timing;
    std::shared_ptr<Record> record;
    bool asked;
};

struct CUgraph_st {
    std::shared_ptr<std::vector<Task>> tasks;
};

struct CUgraphExec_st {
    std::shared_ptr<std::vector<Task>> tasks;
};

static auto &streams = eqi_host::immortal<std::set<cudaStream_t>>();
static auto &events = eqi_host::immortal<std::set<cudaEvent_t>>();
static auto &graphs = eqi_host::immortal<std::set<cudaGraph_t>>();
static auto &execs = eqi_host::immortal<std::set<cudaGraphExec_t>>();

/* ---- queues ---- */

static double now()
{
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/* Runs the stream's queue up to the record, or all of it. Tasks that wait come here again. */
static void drain(cudaStream_t stream, const Record *record)
{
    if (stream->queue.empty())
        return;
    eqi_host::watch_signals();
    eqi_host::open_memory();
    while (!stream->queue.empty() && !(record && record->done)) {
        const Task task = std::move(stream->queue.front());
        stream->queue.pop_front();
        if (!eqi_host::device_error())
            task();
    }
    eqi_host::close_memory();
}

static void wait_for(const Record &record)
{
    if (!record.done && !eqi_host::device_error())
        drain(record.stream, &record);
}

namespace eqi_host
{
void drain_all()
{
    for (cudaStream_t stream : streams)
        drain(stream, nullptr);
}

bool is_stream(cudaStream_t stream)
{
    return streams.count(stream) != 0;
}

int64_t live_streams()
{
    return static_cast<int64_t>(streams.size() + events.size() + graphs.size() + execs.size());
}

/* In every mode and from every thread: stricter than CUDA, so that tests notice. */
cudaError_t refuse_in_capture(const char *what)
{
    cudaError_t error = cudaSuccess;
    for (cudaStream_t stream : streams)
        if (stream->capture) {
            stream->capture->valid = false;
            error = cudaErrorStreamCaptureUnsupported;
        }
    if (error)
        complain("%s while a stream captures: the capture is lost", what);
    return error;
}

static cudaError_t check_stream(cudaStream_t stream, const char *what)
{
    if (stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread) {
        complain("%s on the default stream: work belongs on a stream of its own", what);
        return cudaErrorInvalidResourceHandle;
    }
    if (!is_stream(stream)) {
        complain("%s on a stream that was destroyed or never made", what);
        return cudaErrorInvalidResourceHandle;
    }
    return device_error();
}

cudaError_t enqueue(cudaStream_t stream, const char *what, Task task)
{
    const cudaError_t error = check_stream(stream, what);
    if (error)
        return error;
    if (!stream->capture) {
        stream->queue.push_back(std::move(task));
        return cudaSuccess;
    }
    if (!stream->capture->valid)
        return cudaErrorStreamCaptureInvalidated;
    stream->operations++;
    stream->capture->tasks->push_back(std::move(task));
    return cudaSuccess;
}

int stream_device(cudaStream_t stream)
{
    return stream->device;
}
} // namespace eqi_host

/* ---- streams ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    const Lock lock(eqi_host::engine_mutex);
    cudaError_t error = eqi_host::device_error();
    if (!error && (!stream || flags > cudaStreamNonBlocking))
        error = cudaErrorInvalidValue;
    if (error)
        return finish(error);
    *stream = new CUstream_st{eqi_host::current_device(), {}, nullptr, 0, false};
    streams.insert(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    const Lock lock(eqi_host::engine_mutex);
    const cudaError_t error = eqi_host::check_stream(stream, "cudaStreamDestroy");
    if (!eqi_host::is_stream(stream))
        return finish(error);
    if (stream->capture)
        stream->capture->valid = false;
    drain(stream, nullptr);
    streams.erase(stream);
    delete stream;
    return finish(error);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    const Lock lock(eqi_host::engine_mutex);
    cudaError_t error = eqi_host::check_stream(stream, "cudaStreamSynchronize");
    if (!error)
        error = eqi_host::refuse_in_capture("cudaStreamSynchronize");
    if (error)
        return finish(error);
    drain(stream, nullptr);
    return finish(eqi_host::device_error());
}

/* The first query of unfinished work says so; the second one finds it done. */
static cudaError_t answer_query(cudaStream_t stream, const Record *record, bool *asked)
{
    const bool pending = record ? !record->done : !stream->queue.empty();
    *asked = pending && !*asked;
    if (*asked)
        return cudaErrorNotReady;
    if (pending)
        drain(stream, record);
    return eqi_host::device_error();
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    const Lock lock(eqi_host::engine_mutex);
    cudaError_t error = eqi_host::check_stream(stream, "cudaStreamQuery");
    if (!error)
        error = eqi_host::refuse_in_capture("cudaStreamQuery");
    return finish(error ? error : answer_query(stream, nullptr, &stream->asked));
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status)
{
    const Lock lock(eqi_host::engine_mutex);
    const cudaError_t error = eqi_host::check_stream(stream, "cudaStreamIsCapturing");
    if (error)
        return finish(error);
    *status = !stream->capture         ? cudaStreamCaptureStatusNone
              : stream->capture->valid ? cudaStreamCaptureStatusActive
                                       : cudaStreamCaptureStatusInvalidated;
    return cudaSuccess;
}

cudaError_t cudaStreamGetDevice(cudaStream_t stream, int *device)
{
    const Lock lock(eqi_host::engine_mutex);
    const cudaError_t error = eqi_host::check_stream(stream, "cudaStreamGetDevice");
    if (!error)
        *device = stream->device;
    return finish(error);
}

/* Inside a capture a wait joins the two streams; the graph keeps the order of the calls. */
static cudaError_t wait_in_capture(cudaStream_t stream, const Record &record)
{
    if (stream->capture != record.capture && stream->capture) {
        stream->capture->valid = false;
        return cudaErrorStreamCaptureIsolation;
    }
    if (!stream->capture) {
        stream->capture = record.capture;
        stream->capture->forks.push_back({stream, -1});
    }
    for (Fork &fork : stream->capture->forks)
        if (fork.stream == record.stream && fork.stream != stream)
            fork.joined = record.operation;
    stream->operations++;
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    const Lock lock(eqi_host::engine_mutex);
    const cudaError_t error = eqi_host::check_stream(stream, "cudaStreamWaitEvent");
    if (error || !events.count(event))
        return finish(error ? error : cudaErrorInvalidResourceHandle);
    const std::shared_ptr<Record> record = event->record;
    if (!record)
        return cudaSuccess;
    if (stream->capture || record->capture)
        return finish(wait_in_capture(stream, *record));
    return finish(
        eqi_host::enqueue(stream, "cudaStreamWaitEvent", [record] { wait_for(*record); }));
}

cudaError_t cudaDeviceSynchronize(void)
{
    const Lock lock(eqi_host::engine_mutex);
    cudaError_t error = eqi_host::device_error();
    if (!error)
        error = eqi_host::refuse_in_capture("cudaDeviceSynchronize");
    if (error)
        return finish(error);
    eqi_host::drain_all();
    return finish(eqi_host::device_error());
}

/* ---- events ---- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    const Lock lock(eqi_host::engine_mutex);
    const cudaError_t error = eqi_host::device_error();
    if (error || !event)
        return finish(error ? error : cudaErrorInvalidValue);
    *event = new CUevent_st{!(flags & cudaEventDisableTiming), nullptr, false};
    events.insert(*event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    const Lock lock(eqi_host::engine_mutex);
    if (!events.count(event))
        return finish(cudaErrorInvalidResourceHandle);
    const auto record = std::make_shared<Record>(Record{stream, nullptr, 0, false, 0.0});
    const cudaError_t error = eqi_host::enqueue(stream, "cudaEventRecord", [record] {
        record->done = true;
        record->seconds = now();
    });
    if (error)
        return finish(error);
    record->capture = stream->capture;
    record->operation = stream->operations;
    event->record = record;
    event->asked = false;
    return cudaSuccess;
}

static cudaError_t check_event(cudaEvent_t event, const char *what)
{
    cudaError_t error = eqi_host::device_error();
    if (!error && !events.count(event))
        error = cudaErrorInvalidResourceHandle;
    if (!error)
        error = eqi_host::refuse_in_capture(what);
    if (!error && event->record && event->record->capture)
        error = cudaErrorCapturedEvent;
    return error;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    const Lock lock(eqi_host::engine_mutex);
    const cudaError_t error = check_event(event, "cudaEventSynchronize");
    if (error)
        return finish(error);
    if (event->record)
        wait_for(*event->record);
    return finish(eqi_host::device_error());
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    const Lock lock(eqi_host::engine_mutex);
    const cudaError_t error = check_event(event, "cudaEventQuery");
    if (error || !event->record)
        return finish(error);
    return finish(answer_query(event->record->stream, event->record.get(), &event->asked));
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    const Lock lock(eqi_host::engine_mutex);
    if (!events.erase(event))
        return finish(cudaErrorInvalidResourceHandle);
    delete event;
    return finish(eqi_host::device_error());
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end)
{
    const Lock lock(eqi_host::engine_mutex);
    if (!events.count(start) || !events.count(end) || !start->timing || !end->timing ||
        !start->record || !end->record)
        return finish(cudaErrorInvalidResourceHandle);
    if (!start->record->done || !end->record->done)
        return finish(cudaErrorNotReady);
    *milliseconds = static_cast<float>(1e3 * (end->record->seconds - start->record->seconds));
    return cudaSuccess;
}

/* ---- graphs ---- */

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode)
{
    const Lock lock(eqi_host::engine_mutex);
    const cudaError_t error = eqi_host::check_stream(stream, "cudaStreamBeginCapture");
    if (error || stream->capture)
        return finish(error ? error : cudaErrorStreamCaptureUnsupported);
    stream->capture =
        std::make_shared<Capture>(Capture{stream, {}, std::make_shared<std::vector<Task>>(), true});
    return cudaSuccess;
}

/* Gives the tasks away: they hold records, which hold the capture. */
static cudaError_t end_capture(Capture &capture, std::shared_ptr<std::vector<Task>> &tasks)
{
    bool joined = true;
    for (const Fork &fork : capture.forks) {
        if (!eqi_host::is_stream(fork.stream))
            continue;
        joined = joined && fork.joined == fork.stream->operations;
        fork.stream->capture = nullptr;
    }
    capture.origin->capture = nullptr;
    tasks = std::move(capture.tasks);
    return !capture.valid ? cudaErrorStreamCaptureInvalidated
           : !joined      ? cudaErrorStreamCaptureUnjoined
                          : cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    const Lock lock(eqi_host::engine_mutex);
    *graph = nullptr;
    cudaError_t error = eqi_host::check_stream(stream, "cudaStreamEndCapture");
    if (!error && (!stream->capture || stream->capture->origin != stream))
        error = cudaErrorStreamCaptureUnmatched;
    if (error)
        return finish(error);
    const std::shared_ptr<Capture> capture = stream->capture;
    std::shared_ptr<std::vector<Task>> tasks;
    error = end_capture(*capture, tasks);
    if (error)
        return finish(error);
    *graph = new CUgraph_st{tasks};
    graphs.insert(*graph);
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    const Lock lock(eqi_host::engine_mutex);
    const cudaError_t error = eqi_host::device_error();
    if (error || !graphs.count(graph))
        return finish(error ? error : cudaErrorInvalidValue);
    *exec = new CUgraphExec_st{graph->tasks};
    execs.insert(*exec);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    const Lock lock(eqi_host::engine_mutex);
    if (!execs.count(exec))
        return finish(cudaErrorInvalidValue);
    const auto tasks = exec->tasks;
    return finish(eqi_host::enqueue(stream, "cudaGraphLaunch", [tasks] {
        for (const Task &task : *tasks)
            task();
    }));
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    const Lock lock(eqi_host::engine_mutex);
    if (!execs.erase(exec))
        return finish(cudaErrorInvalidValue);
    delete exec;
    return finish(eqi_host::device_error());
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    const Lock lock(eqi_host::engine_mutex);
    if (!graphs.erase(graph))
        return finish(cudaErrorInvalidValue);
    delete graph;
    return finish(eqi_host::device_error());
}
