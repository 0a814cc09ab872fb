/* Copies of planes, included by gfourier.inc.c. */
static int clamp(int64_t lane)
{
    return lane < 0 ? 0 : lane > LANES ? LANES : (int)lane;
}

/* Every second float from `from` on, for the lanes from the first to the last: nothing else is read. */
INLINE vf32 load_seconds(const float *from, int first, int last)
{
    vf32 even, odd;
    const int begin = 2 * first, end = 2 * last - 1;
    vf32_unzip(vf32_load_part(from, clamp(begin), clamp(end)),
               vf32_load_part(from + LANES, clamp(begin - LANES), clamp(end - LANES)), &even, &odd);
    return even;
}

/* How a vector of a copy is read: not at all, the lanes first .. last - 1, whole; every second float. */
enum { NO_LANES, SOME_LANES, ALL_LANES, SECOND_LANES };

/* The vectors of all rows that begin at x. They may reach into the rows after it, but not behind the last. */
typedef struct shift_column {
    int64_t x;
    int64_t whole;               /* rows whose vector is written whole; of the others .. */
    int how, first, last, count; /* .. so many lanes are */
} shift_column;

static shift_column shift_column_of(const eqi_gf_shift *s, int64_t x)
{
    shift_column c = {.x = x,
                      .first = clamp(s->first - x),
                      .last = clamp(s->last - x),
                      .count = clamp(s->columns - x)};
    const int64_t room = s->rows * s->columns - x - LANES;
    c.whole = room < 0 ? 0 : room / s->columns + 1;
    c.whole = c.whole < s->rows ? c.whole : s->rows;
    c.how = c.first >= c.last                 ? NO_LANES
            : s->step == 2                    ? SECOND_LANES
            : c.first == 0 && c.last == LANES ? ALL_LANES
                                              : SOME_LANES;
    return c;
}

INLINE vf32 shift_load(const float *from, const int how, int first, int last)
{
    if (how == SECOND_LANES)
        return load_seconds(from, first, last);
    return how == NO_LANES     ? vf32_broadcast(0)
           : how == SOME_LANES ? vf32_load_part(from, first, last)
                               : vf32_load(from);
}

INLINE void shift_rows(const eqi_gf_shift *s, const shift_column *c, const int how,
                       const float *from, float *to)
{
    const int64_t pitch = s->from_pitch, columns = s->columns, whole = c->whole;
    for (int64_t y = 0; y < whole; y++, from += pitch, to += columns) {
        PREFETCH(from + 256); /* the next plane's, mostly: it comes from L3 */
        vf32_store(to, shift_load(from, how, c->first, c->last));
    }
    for (int64_t y = whole; y < s->rows; y++, from += pitch, to += columns)
        vf32_store_part(to, shift_load(from, how, c->first, c->last), c->count);
}

INLINE void clear(float *to, int64_t count)
{
    for (; count >= LANES; count -= LANES, to += LANES)
        vf32_store(to, vf32_broadcast(0));
    if (count > 0)
        vf32_store_part(to, vf32_broadcast(0), (int)count);
}

/* Rows of one vector each. */
INLINE void shift_small(const eqi_gf_shift *s, const int how)
{
    const shift_column c = shift_column_of(s, 0);
    const int64_t inside = s->rows * s->columns;
    for (int64_t i = 0; i < s->fields; i++)
        for (int64_t h = 0; h < s->elements; h++) {
            const float *const from = s->from + i * s->from_field + h * s->from_element;
            float *const to = s->to + i * s->to_field + h * s->to_element;
            clear(to, s->above);
            shift_rows(s, &c, how, from, to + s->above);
            clear(to + s->above + inside, s->behind);
        }
}

INLINE void shift_vectors(const eqi_gf_shift *s, int64_t x, const float *from, float *to)
{
    const shift_column c = shift_column_of(s, x);
    from += x * s->step;
    to += x;
    if (c.how == NO_LANES)
        shift_rows(s, &c, NO_LANES, from, to);
    else if (c.how == SOME_LANES)
        shift_rows(s, &c, SOME_LANES, from, to);
    else if (c.how == ALL_LANES)
        shift_rows(s, &c, ALL_LANES, from, to);
    else
        shift_rows(s, &c, SECOND_LANES, from, to);
}

/* The last vectors first, which the others then overwrite where they reach into the next row. */
INLINE void shift_plane(const eqi_gf_shift *s, const float *from, float *to)
{
    const int64_t last = (s->columns - 1) / LANES * LANES;
    shift_vectors(s, last, from, to);
    for (int64_t x = 0; x < last; x += LANES)
        shift_vectors(s, x, from, to);
}

INLINE void stride_plane(const eqi_gf_shift *s, const float *from, float *to)
{
    for (int64_t y = 0; y < s->rows; y++, from += s->from_pitch, to += s->columns)
        for (int64_t x = 0; x < s->columns; x++)
            to[x] = x >= s->first && x < s->last ? from[x * s->step] : 0;
}

static void shift_large(const eqi_gf_shift *s)
{
    const int64_t inside = s->rows * s->columns;
    for (int64_t i = 0; i < s->fields; i++)
        for (int64_t h = 0; h < s->elements; h++) {
            const float *const from = s->from + i * s->from_field + h * s->from_element;
            float *const to = s->to + i * s->to_field + h * s->to_element;
            clear(to, s->above);
            if (s->step <= 2)
                shift_plane(s, from, to + s->above);
            else
                stride_plane(s, from, to + s->above);
            clear(to + s->above + inside, s->behind);
        }
}

static void shift(const eqi_gf_shift *s)
{
    const int how = shift_column_of(s, 0).how;
    if (s->columns > LANES || s->step > 2 || how == NO_LANES)
        shift_large(s);
    else if (how == SECOND_LANES)
        shift_small(s, SECOND_LANES);
    else if (how == ALL_LANES)
        shift_small(s, ALL_LANES);
    else
        shift_small(s, SOME_LANES);
}
