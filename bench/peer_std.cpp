// The C++ standard library as a peer: what a program would write without any other.
#include <algorithm>
#include <cstdint>
#include <random>

extern "C" {

// Every channel of src [batch, rows, channels] sorted over its rows; room for `rows` numbers.
void std_sort_rows(const float *src, float *dst, int64_t batch, int64_t rows, int64_t channels,
                   float *room)
{
    for (int64_t b = 0; b < batch; b++, src += rows * channels, dst += rows * channels) {
        if (channels == 1) {
            std::copy(src, src + rows, dst);
            std::sort(dst, dst + rows);
            continue;
        }
        for (int64_t c = 0; c < channels; c++) {
            for (int64_t r = 0; r < rows; r++)
                room[r] = src[r * channels + c];
            std::sort(room, room + rows);
            for (int64_t r = 0; r < rows; r++)
                dst[r * channels + c] = room[r];
        }
    }
}

void std_normals(float *to, int64_t count, uint64_t seed)
{
    std::mt19937 generator(static_cast<std::mt19937::result_type>(seed));
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < count; i++)
        to[i] = normal(generator);
}
}
