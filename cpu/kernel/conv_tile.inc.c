/* The bodies of cpu/gemm/conv_tile.c, once for each element type: REAL, NAME(..). */

static void NAME(fetch_row)(const REAL *from, int64_t stride, int64_t size,
                            const eqi_conv_border *b, REAL *to)
{
    if (b->wrap) {
        int64_t x = modulo(b->left, size);
        for (int64_t i = 0; i < b->columns; i++) {
            to[i] = from[x * stride];
            x = x + 1 == size ? 0 : x + 1;
        }
        return;
    }
    const int64_t begin = clamp(-b->left, 0, b->columns);
    const int64_t end = clamp(size - b->left, begin, b->columns);
    for (int64_t i = 0; i < begin; i++)
        to[i] = 0;
    if (stride == 1)
        for (int64_t i = begin; i < end; i++)
            to[i] = from[b->left + i];
    else
        for (int64_t i = begin; i < end; i++)
            to[i] = from[(b->left + i) * stride];
    for (int64_t i = end; i < b->columns; i++)
        to[i] = 0;
}

static void NAME(fetch)(const equinv_tensor *map, const eqi_conv_border *b, REAL *buffer)
{
    const int64_t height = map->shape[3], channels = map->shape[1] * map->shape[2];
    for (int64_t n = 0; n < b->images; n++)
        for (int64_t c = 0; c < channels; c++, buffer += b->channel_step) {
            const REAL *const from =
                (const REAL *)map->data +
                eqi_offset5(map, b->image + n, c / map->shape[2], c % map->shape[2], 0, 0);
            for (int64_t row = 0; row < b->rows; row++) {
                const int64_t y = b->wrap ? modulo(b->top + row, height) : b->top + row;
                REAL *const to = buffer + row * b->columns;
                if (y >= 0 && y < height)
                    NAME(fetch_row)
                (from + y * map->strides[3], map->strides[4], map->shape[4], b, to);
                else memset(to, 0, (size_t)b->columns * sizeof(REAL));
            }
        }
}

/* One row of pixels of one column. */
static void NAME(put_row)(const REAL *matrix, int64_t pitch, const eqi_conv_pixels *p, REAL bias,
                          bool add, REAL *to, int64_t stride, int64_t size)
{
    for (int64_t i = 0; i < p->columns; i++) {
        const int64_t x = p->x + i;
        REAL *const at = to + (p->wrap ? modulo(x, size) : x) * stride;
        const REAL value = matrix[i * pitch] + bias;
        *at = add ? *at + value : value;
    }
}

static void NAME(store)(const REAL *matrix, int64_t pitch, const eqi_conv_pixels *p,
                        const eqi_conv_columns *columns, bool add, const equinv_tensor *map)
{
    const int64_t channels = map->shape[1] * map->shape[2];
    const REAL *const bias = columns->bias;
    for (int64_t n = 0; n < p->images; n++)
        for (int64_t row = 0; row < p->rows; row++, matrix += p->columns * pitch) {
            const int64_t y = p->wrap ? modulo(p->y + row, map->shape[3]) : p->y + row;
            REAL *const to = (REAL *)map->data + eqi_offset5(map, p->image + n, 0, 0, y, 0);
            for (int64_t c = 0; c < channels; c++)
                NAME(put_row)
            (matrix + c, pitch, p, bias ? bias[c] : 0, add, to + columns->at[c], map->strides[4],
             map->shape[4]);
        }
}

static void NAME(clear)(const equinv_tensor *map, int64_t image, int64_t images)
{
    const int64_t height = map->shape[3], channels = map->shape[1] * map->shape[2];
    for (int64_t row = 0; row < images * channels * height; row++) {
        const int64_t c = row / height % channels;
        REAL *const to =
            (REAL *)map->data + eqi_offset5(map, image + row / height / channels, c / map->shape[2],
                                            c % map->shape[2], row % height, 0);
        for (int64_t x = 0; x < map->shape[4]; x++)
            to[x * map->strides[4]] = 0;
    }
}

static void NAME(gather)(const equinv_tensor *map, const eqi_conv_pixels *p,
                         const eqi_conv_columns *columns, REAL *matrix, int64_t pitch)
{
    const int64_t channels = map->shape[1] * map->shape[2];
    for (int64_t n = 0; n < p->images; n++)
        for (int64_t row = 0; row < p->rows; row++, matrix += p->columns * pitch) {
            const REAL *const from =
                (const REAL *)map->data + eqi_offset5(map, p->image + n, 0, 0, p->y + row, p->x);
            for (int64_t c = 0; c < channels; c++)
                for (int64_t x = 0; x < p->columns; x++)
                    matrix[x * pitch + c] = from[columns->at[c] + x * map->strides[4]];
            for (int64_t x = 0; x < p->columns && channels < pitch; x++)
                memset(matrix + x * pitch + channels, 0, (size_t)(pitch - channels) * sizeof(REAL));
        }
}

static void NAME(expand)(const equinv_tensor *psi, const eqi_conv_spread *s, REAL *bank)
{
    const REAL *const from =
        (const REAL *)psi->data + eqi_offset5(psi, s->first, 0, s->at.a, s->at.v.y, s->at.v.x);
    for (int64_t o = 0; o < s->out; o++)
        for (int64_t i = 0; i < s->in; i++)
            bank[s->to + o * s->o_step + i * s->i_step] =
                from[o * psi->strides[0] + i * psi->strides[1]];
}

static void NAME(put_psi)(const equinv_tensor *psi, const eqi_conv_psi_rows *r)
{
    const REAL *row = r->rows;
    for (int64_t q = r->first; q < r->first + r->count; q++, row += r->pitch) {
        int64_t left = q, offset = 0;
        for (int axis = 4; axis > 0; axis--) {
            offset += left % psi->shape[axis] * psi->strides[axis];
            left /= psi->shape[axis];
        }
        REAL *const to = (REAL *)psi->data + offset;
        for (int64_t o = 0; o < r->fields; o++)
            to[r->at[o]] = (r->add ? to[r->at[o]] : 0) + row[o];
    }
}
