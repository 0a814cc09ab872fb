/* Files: bytes in and out, element types as files store them, and what the readers share. */
#ifndef EQI_FILE_H
#define EQI_FILE_H

#include <sys/types.h>

#include "tensor.h"

/* No header is larger, whatever its length field says. */
#define EQI_HEADER_LIMIT (16 << 20)
/* Elements that are converted at a time, and bytes that are read or written at a time. */
#define EQI_BLOCK 8192
#define EQI_BLOCK_BYTES (EQI_BLOCK * 8)

/* A path as sentences show it: the end of a long one after "...", so that the reason still fits. */
#define EQI_PATH_TEXT 256
const char *eqi_path_text(const char *path, char text[EQI_PATH_TEXT]);

/* IO with path and the system's reason; `verb` is what was tried ("opened"). */
equinv_status eqi_fail_system(const char *name, const char *verb, int error);

/* ---- element types ------------------------------------------------------------------------------ */

typedef enum eqi_stored {
    EQI_STORED_BOOL,
    EQI_STORED_I8,
    EQI_STORED_U8,
    EQI_STORED_I16,
    EQI_STORED_U16,
    EQI_STORED_I32,
    EQI_STORED_U32,
    EQI_STORED_I64,
    EQI_STORED_U64,
    EQI_STORED_F32,
    EQI_STORED_F64,
    EQI_STORED_F16, /* only listed: nothing reads them */
    EQI_STORED_BF16,
    EQI_STORED_F8
} eqi_stored;

typedef struct eqi_stored_type {
    const char *name;
    int64_t size;
    equinv_dtype announced; /* 0: cannot be read */
} eqi_stored_type;
extern const eqi_stored_type eqi_stored_types[];

/* An array as a file has it: row-major, byte order reversed if `swap`. */
typedef struct eqi_array {
    eqi_stored stored;
    bool swap;
    int32_t ndim;
    int64_t shape[EQUINV_MAX_DIMS];
    int64_t count, bytes; /* eqi_array_measure sets them */
} eqi_array;

/* Checked products: count and bytes, so that every dtype fits in the address space. FORMAT. */
equinv_status eqi_array_measure(const char *name, eqi_array *array);

/*
 * Converts n <= EQI_BLOCK elements of native byte order into a row-major block of dtype, rounded once.
 * Returns the number of the first one that dtype does not hold (or of a boolean that is neither 0 nor
 * 1), with its value as a double; -1 if all do.
 */
int64_t eqi_stored_convert(eqi_stored stored, const void *raw, int64_t n, equinv_dtype dtype,
                           void *block, double *value);

void eqi_swap_bytes(void *elements, int64_t n, int64_t size);

/* The walk over a tensor of any strides in row-major order. */
typedef struct eqi_cursor {
    const equinv_tensor *tensor;
    int64_t index[EQUINV_MAX_DIMS];
    char *at;
} eqi_cursor;
eqi_cursor eqi_cursor_at_start(const equinv_tensor *tensor);
/* The next n elements to or from a block without gaps. */
void eqi_cursor_scatter(eqi_cursor *cursor, const void *block, int64_t n);
void eqi_cursor_gather(eqi_cursor *cursor, void *block, int64_t n);

/* ---- input -------------------------------------------------------------------------------------- */

/*
 * A file, pipe or device that is read from the front; gzip is found by its first bytes and undone on
 * the way. Nothing is decompressed beyond what was asked for.
 */
typedef struct eqi_input {
    equinv_context *ctx;
    int fd;
    char name[EQI_PATH_TEXT];
    bool regular;
    int64_t file_size;     /* -1: not known */
    int64_t raw_read;      /* bytes that came from the system */
    int64_t delivered;     /* bytes handed out, uncompressed */
    struct eqi_gzip *gzip; /* NULL: plain */
    size_t begin, end;     /* what `buffer` holds of the file as it is */
    _Alignas(EQI_ALIGNMENT) unsigned char buffer[EQI_BLOCK_BYTES];
    _Alignas(EQI_ALIGNMENT) unsigned char raw[EQI_BLOCK_BYTES];
    _Alignas(EQI_ALIGNMENT) unsigned char converted[EQI_BLOCK_BYTES];
} eqi_input;

/* Opens, and looks for gzip if that is to be undone. IO; UNSUPPORTED for gzip without zlib. */
equinv_status eqi_input_open(equinv_context *ctx, const char *path, bool undo_gzip,
                             eqi_input **opened);
void eqi_input_close(eqi_input *input);

/* The next bytes; fewer than size only at the end. */
equinv_status eqi_input_read(eqi_input *input, void *bytes, size_t size, size_t *got);

/* The next bytes, or FORMAT saying how much of `what` was found and expected. */
equinv_status eqi_input_need(eqi_input *input, void *bytes, size_t size, const char *what);

/* FORMAT if anything follows. */
equinv_status eqi_input_end(eqi_input *input);

/*
 * FORMAT if `bytes` more cannot be what follows: in a regular file the rest must be exactly that; in a
 * compressed one it must not be more than deflate can make of it.
 */
equinv_status eqi_input_promise(const eqi_input *input, int64_t bytes);

/* Goes to a byte of a plain regular file. */
equinv_status eqi_input_seek(eqi_input *input, int64_t position);

/*
 * The next elements into dst, converted to its dtype. They are array's elements number first ..;
 * `name` is the array's in sentences. ARG: a value does not fit dst's dtype.
 */
equinv_status eqi_input_elements(eqi_input *input, const char *name, const eqi_array *array,
                                 int64_t first, const equinv_tensor *dst);

/* gzip: state, and the next uncompressed bytes. */
equinv_status eqi_gzip_create(eqi_input *input);
void eqi_gzip_destroy(eqi_input *input);
equinv_status eqi_gzip_read(eqi_input *input, void *bytes, size_t size, size_t *got);
/* More bytes of the file as it is into `buffer`, which is empty; end == begin at the end. */
equinv_status eqi_input_fill(eqi_input *input);

/* ---- formats ------------------------------------------------------------------------------------ */

/* Headers, read after the four bytes that told the kind. array is measured. */
equinv_status eqi_npy_read_header(eqi_input *input, eqi_array *array);
equinv_status eqi_idx_read_header(eqi_input *input, const unsigned char magic[4], eqi_array *array);

/* NPY header (version 1, little endian) of at most EQI_NPY_HEADER bytes; returns its length. */
#define EQI_NPY_HEADER 384
size_t eqi_npy_make_header(equinv_dtype dtype, int32_t ndim, const int64_t *shape,
                           char header[EQI_NPY_HEADER]);

/* ---- output ------------------------------------------------------------------------------------- */

/*
 * A file that appears complete or not at all: bytes go to a temporary file beside it, which commit
 * renames. Pipes, devices and files without a name are written through.
 */
typedef struct eqi_output eqi_output;

equinv_status eqi_output_create(equinv_context *ctx, const char *path, eqi_output **output);

/*
 * As that, but continues "<path>.part" where its rows of `row` bytes, at most `most`, end; `header` is
 * what it begins with. The first call writes the header. See equinv_writer_resume.
 */
equinv_status eqi_output_resume(equinv_context *ctx, const char *path, const char *identity,
                                const void *header, size_t size, int64_t row, int64_t most,
                                eqi_output **output, int64_t *rows);

/* After a failure, every later call fails the same way. */
equinv_status eqi_output_write(eqi_output *output, const void *bytes, size_t size);

/* The elements of a tensor of any strides, row-major, little endian. */
equinv_status eqi_output_tensor(eqi_output *output, const equinv_tensor *tensor);

/* Whether a write failed: commit will say so again. */
bool eqi_output_failed(const eqi_output *output);

/* Completes and releases; on failure nothing is left but what was there before. */
equinv_status eqi_output_commit(eqi_output *output);

/* Removes the temporary file and releases; NULL is fine. */
void eqi_output_abort(eqi_output *output);

/* The path as sentences show it. */
const char *eqi_output_name(const eqi_output *output);

#endif
