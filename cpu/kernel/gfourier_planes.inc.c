/* Copies of planes, included by gfourier.inc.c. */
static int clamp(int64_t lane)
{
    return lane < 0 ? 0 : lane > LANES ? LANES : (int)lane;
}

/* How a vector of a copy is read: not at all, the lanes first .. last - 1, whole; every second float. */
enum { NO_LANES, SOME_LANES, ALL_LANES, SECOND_LANES };

/* The vectors of all rows that begin at x. They may reach into the rows after it, but not behind the last. */
typedef struct shift_column {
    int64_t x;
    int64_t whole;     /* rows whose vector is written whole; of the others .. */
    int how, count;    /* .. so many lanes are */
    vf32_part part[2]; /* of what is read; every second float stands in two vectors */
} shift_column;

static int shift_how(const eqi_gf_shift *s, int64_t x)
{
    const int first = clamp(s->first - x), last = clamp(s->last - x);
    return first >= last                 ? NO_LANES
           : s->step == 2                ? SECOND_LANES
           : first == 0 && last == LANES ? ALL_LANES
                                         : SOME_LANES;
}

static shift_column shift_column_of(const eqi_gf_shift *s, int64_t x)
{
    const int first = clamp(s->first - x), last = clamp(s->last - x);
    shift_column c = {.x = x, .how = shift_how(s, x), .count = clamp(s->columns - x)};
    const int64_t room = s->rows * s->columns - x - LANES;
    c.whole = room < 0 ? 0 : room / s->columns + 1;
    c.whole = c.whole < s->rows ? c.whole : s->rows;
    const int begin = c.how == SECOND_LANES ? 2 * first : first;
    const int end = c.how == SECOND_LANES ? 2 * last - 1 : last;
    c.part[0] = vf32_part_of(clamp(begin), clamp(end));
    c.part[1] = vf32_part_of(clamp(begin - LANES), clamp(end - LANES));
    return c;
}

INLINE vf32 shift_load(const float *from, const int how, const vf32_part *part)
{
    if (how == SECOND_LANES) {
        vf32 even, odd;
        vf32_unzip(vf32_load_lanes(from, part[0]), vf32_load_lanes(from + LANES, part[1]), &even,
                   &odd);
        return even;
    }
    return how == NO_LANES     ? vf32_broadcast(0)
           : how == SOME_LANES ? vf32_load_lanes(from, part[0])
                               : vf32_load(from);
}

INLINE void shift_rows(const eqi_gf_shift *s, const shift_column *c, const int how,
                       const float *from, float *to)
{
    const int64_t pitch = s->from_pitch, columns = s->columns, whole = c->whole;
    const vf32_part part[2] = {c->part[0], c->part[1]};
    for (int64_t y = 0; y < whole; y++, from += pitch, to += columns) {
        PREFETCH(from + 256); /* the next plane's, mostly: it comes from L3 */
        vf32_store(to, shift_load(from, how, part));
    }
    for (int64_t y = whole; y < s->rows; y++, from += pitch, to += columns)
        vf32_store_part(to, shift_load(from, how, part), c->count);
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

INLINE void shift_vectors(const eqi_gf_shift *s, const shift_column *c, const float *from,
                          float *to)
{
    from += c->x * s->step;
    to += c->x;
    if (c->how == NO_LANES)
        shift_rows(s, c, NO_LANES, from, to);
    else if (c->how == SOME_LANES)
        shift_rows(s, c, SOME_LANES, from, to);
    else if (c->how == ALL_LANES)
        shift_rows(s, c, ALL_LANES, from, to);
    else
        shift_rows(s, c, SECOND_LANES, from, to);
}

/* The last vectors first, which the others then overwrite where they reach into the next row. */
static void shift_large(const eqi_gf_shift *s)
{
    enum { TOGETHER = 8 };
    const int64_t vectors = (s->columns - 1) / LANES + 1, inside = s->rows * s->columns;
    for (int64_t first = 0; first < vectors; first += TOGETHER) {
        const int64_t count = vectors - first < TOGETHER ? vectors - first : TOGETHER;
        shift_column c[TOGETHER];
        for (int64_t v = 0; v < count; v++)
            c[v] = shift_column_of(s, ((first + v == 0 ? vectors : first + v) - 1) * LANES);
        for (int64_t i = 0; i < s->fields; i++)
            for (int64_t h = 0; h < s->elements; h++) {
                const float *const from = s->from + i * s->from_field + h * s->from_element;
                float *const to = s->to + i * s->to_field + h * s->to_element;
                if (first == 0) {
                    clear(to, s->above);
                    clear(to + s->above + inside, s->behind);
                }
                for (int64_t v = 0; v < count; v++)
                    shift_vectors(s, &c[v], from, to + s->above);
            }
    }
}

INLINE void stride_plane(const eqi_gf_shift *s, const float *from, float *to)
{
    for (int64_t y = 0; y < s->rows; y++, from += s->from_pitch, to += s->columns)
        for (int64_t x = 0; x < s->columns; x++)
            to[x] = x >= s->first && x < s->last ? from[x * s->step] : 0;
}

static void shift_strided(const eqi_gf_shift *s)
{
    const int64_t inside = s->rows * s->columns;
    for (int64_t i = 0; i < s->fields; i++)
        for (int64_t h = 0; h < s->elements; h++) {
            const float *const from = s->from + i * s->from_field + h * s->from_element;
            float *const to = s->to + i * s->to_field + h * s->to_element;
            clear(to, s->above);
            stride_plane(s, from, to + s->above);
            clear(to + s->above + inside, s->behind);
        }
}

static void shift(const eqi_gf_shift *s)
{
    const int how = shift_how(s, 0);
    if (s->step > 2)
        shift_strided(s);
    else if (s->columns > LANES || how == NO_LANES)
        shift_large(s);
    else if (how == SECOND_LANES)
        shift_small(s, SECOND_LANES);
    else if (how == ALL_LANES)
        shift_small(s, ALL_LANES);
    else
        shift_small(s, SOME_LANES);
}
