/* Sixteen blocks of 8 x 8 at once: transforms, colours, halving, in libjpeg's integers.

   Coefficients and samples are [64][LANES], and one AVX2 vector holds one row of that. */

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define OTHER 1 /* not done, for libjpeg to do */
#define LANES 16
#define SIMD __attribute__((target("avx2,bmi,bmi2,lzcnt")))
#define INLINE static inline __attribute__((always_inline)) SIMD

/* Where block x of a group is kept: even blocks first, so that the two that make one block of halved chroma are 8 lanes apart. */
#define LANE(x) (((x) & 1) << 3 | (x) >> 1)

static const uint8_t ZIGZAG[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
                                   41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
                                   30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

/* ---- the transforms, after Loeffler, Ligtenberg and Moschytz, with libjpeg's 13-bit constants and its two extra bits ---- */

typedef __m256i V; /* 16 lanes of 16 bits */
typedef struct {
    __m256i low, high; /* the same lanes, of 32 bits or in pairs of 16 */
} W;

INLINE V load(const int16_t *at)
{
    return _mm256_load_si256((const __m256i *)at);
}

INLINE void store(int16_t *at, V v)
{
    _mm256_store_si256((__m256i *)at, v);
}

INLINE W both(V a, V b)
{
    return (W){_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)};
}

INLINE W times(W pair, int a, int b) /* a * the first + b * the second */
{
    __m256i factors = _mm256_set1_epi32((int)((uint32_t)b << 16 | ((uint32_t)a & 0xFFFF)));
    return (W){_mm256_madd_epi16(pair.low, factors), _mm256_madd_epi16(pair.high, factors)};
}

INLINE W plus(W a, W b)
{
    return (W){_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}

INLINE W minus(W a, W b)
{
    return (W){_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}

INLINE V scaled(W a, int shift) /* rounded, halves up */
{
    __m256i half = _mm256_set1_epi32(1 << (shift - 1));
    a.low = _mm256_srai_epi32(_mm256_add_epi32(a.low, half), shift);
    a.high = _mm256_srai_epi32(_mm256_add_epi32(a.high, half), shift);
    return _mm256_packs_epi32(a.low, a.high);
}

INLINE void rotate(V a, V b, V c, V d, W out[4]) /* the odd half, the same in both directions */
{
    W sums = both(_mm256_add_epi16(a, c), _mm256_add_epi16(b, d)), ad = both(a, d), bc = both(b, c);
    W z3 = times(sums, 9633 - 16069, 9633), z4 = times(sums, 9633, 9633 - 3196);
    out[0] = plus(times(ad, 2446 - 7373, -7373), z3);
    out[1] = plus(times(bc, 16819 - 20995, -20995), z4);
    out[2] = plus(times(bc, -20995, 25172 - 20995), z3);
    out[3] = plus(times(ad, -7373, 12299 - 7373), z4);
}

INLINE void inverse(V v[8], int shift)
{
    W ends = both(v[0], v[4]), middle = both(v[2], v[6]), odd[4];
    W t0 = times(ends, 8192, 8192), t1 = times(ends, 8192, -8192);
    W t2 = times(middle, 4433, 4433 - 15137), t3 = times(middle, 4433 + 6270, 4433);
    W even[4] = {plus(t0, t3), plus(t1, t2), minus(t1, t2), minus(t0, t3)};
    rotate(v[7], v[5], v[3], v[1], odd);
    for (int i = 0; i < 4; i++) {
        v[i] = scaled(plus(even[i], odd[3 - i]), shift);
        v[7 - i] = scaled(minus(even[i], odd[3 - i]), shift);
    }
}

INLINE void forward(V v[8], int second)
{
    V s[4], d[4];
    W odd[4];
    int shift = second ? 15 : 11;
    for (int i = 0; i < 4; i++) s[i] = _mm256_add_epi16(v[i], v[7 - i]), d[i] = _mm256_sub_epi16(v[i], v[7 - i]);
    V a = _mm256_add_epi16(s[0], s[3]), b = _mm256_add_epi16(s[1], s[2]);
    W even = both(_mm256_sub_epi16(s[1], s[2]), _mm256_sub_epi16(s[0], s[3]));
    v[0] = _mm256_add_epi16(a, b), v[4] = _mm256_sub_epi16(a, b);
    for (int i = 0; i < 8; i += 4)
        v[i] = second ? _mm256_srai_epi16(_mm256_add_epi16(v[i], _mm256_set1_epi16(2)), 2) : _mm256_slli_epi16(v[i], 2);
    v[2] = scaled(times(even, 4433, 4433 + 6270), shift);
    v[6] = scaled(times(even, 4433 - 15137, 4433), shift);
    rotate(d[3], d[2], d[1], d[0], odd);
    for (int i = 0; i < 4; i++) v[7 - 2 * i] = scaled(odd[i], shift);
}

INLINE V clipped(V v)
{
    return _mm256_max_epi16(_mm256_min_epi16(v, _mm256_set1_epi16(255)), _mm256_setzero_si256());
}

/* Coefficients [64][LANES], of which none lies beyond the first `columns`, to samples 0..255. OTHER where 16 bits are too few for what lies
   between: no encoder writes that, and libjpeg's own results then depend on the processor. */
static SIMD int inverse_dct(const int16_t *coefficients, const uint16_t *quant, int columns, int16_t *samples)
{
    int16_t between[64 * LANES] __attribute__((aligned(32)));
    V v[8], beyond = _mm256_setzero_si256(), largest = beyond;
    if (columns < 8) memset(between, 0, sizeof between);
    for (int x = 0; x < columns; x++) {
        for (int k = 0; k < 8; k++) {
            int16_t q = (int16_t)quant[k * 8 + x];
            v[k] = load(coefficients + (k * 8 + x) * LANES);
            beyond = _mm256_or_si256(beyond, _mm256_cmpgt_epi16(_mm256_abs_epi16(v[k]), _mm256_set1_epi16((int16_t)(4095 / q))));
            v[k] = _mm256_mullo_epi16(v[k], _mm256_set1_epi16(q));
        }
        inverse(v, 11);
        for (int k = 0; k < 8; k++) {
            largest = _mm256_max_epu16(largest, _mm256_abs_epi16(v[k]));
            store(between + (k * 8 + x) * LANES, v[k]);
        }
    }
    beyond = _mm256_or_si256(beyond, _mm256_srli_epi16(largest, 14));
    for (int y = 0; y < 8; y++) {
        for (int k = 0; k < 8; k++) v[k] = load(between + (y * 8 + k) * LANES);
        inverse(v, 18);
        for (int k = 0; k < 8; k++) store(samples + (y * 8 + k) * LANES, clipped(_mm256_adds_epi16(v[k], _mm256_set1_epi16(128))));
    }
    return _mm256_testz_si256(beyond, beyond) ? 0 : OTHER;
}

typedef struct { /* n / divisor, rounded, for n + half below 2^14: two products of which the upper 16 bits are kept */
    uint16_t half[64], factor[64], scale[64];
} Divisors;

static void prepare(Divisors *d, const uint16_t *quant)
{
    for (int k = 0; k < 64; k++) {
        uint32_t divisor = quant[k] * 8u; /* the forward DCT gives 8 times the coefficients */
        int log = 31 - __builtin_clz(divisor);
        d->half[k] = (uint16_t)(divisor / 2);
        d->factor[k] = (uint16_t)((1u << (15 + log)) / divisor + 1);
        d->scale[k] = (uint16_t)(1u << (17 - log));
    }
}

INLINE void interleave(const V in[4], V out[4]) /* four numbers of 16 bits to one of 64: lanes 0 1 8 9, 2 3 10 11, 4 5 12 13, 6 7 14 15 */
{
    W a = both(in[0], in[1]), b = both(in[2], in[3]);
    out[0] = _mm256_unpacklo_epi32(a.low, b.low), out[1] = _mm256_unpackhi_epi32(a.low, b.low);
    out[2] = _mm256_unpacklo_epi32(a.high, b.high), out[3] = _mm256_unpackhi_epi32(a.high, b.high);
}

/* Samples [64][LANES] to quantised coefficients and, for each lane, which of them in zigzag order are not zero. */
static SIMD void forward_dct(const int16_t *samples, const Divisors *divisors, int16_t *coefficients, uint64_t *nonzero)
{
    int16_t between[64 * LANES] __attribute__((aligned(32)));
    V v[8], parts[4];
    for (int y = 0; y < 8; y++) {
        for (int k = 0; k < 8; k++) v[k] = _mm256_sub_epi16(load(samples + (y * 8 + k) * LANES), _mm256_set1_epi16(128));
        forward(v, 0);
        for (int k = 0; k < 8; k++) store(between + (y * 8 + k) * LANES, v[k]);
    }
    for (int x = 0; x < 8; x++) {
        for (int k = 0; k < 8; k++) v[k] = load(between + (k * 8 + x) * LANES);
        forward(v, 1);
        for (int k = 0; k < 8; k++) {
            int at = k * 8 + x;
            V n = _mm256_add_epi16(_mm256_abs_epi16(v[k]), _mm256_set1_epi16((int16_t)divisors->half[at]));
            n = _mm256_mulhi_epu16(n, _mm256_set1_epi16((int16_t)divisors->factor[at]));
            n = _mm256_mulhi_epu16(n, _mm256_set1_epi16((int16_t)divisors->scale[at]));
            store(coefficients + at * LANES, _mm256_sign_epi16(n, v[k]));
        }
    }
    for (int part = 0; part < 4; part++) {
        parts[part] = _mm256_setzero_si256();
        for (int k = 0; k < 16; k++) {
            V zero = _mm256_cmpeq_epi16(load(coefficients + ZIGZAG[part * 16 + k] * LANES), _mm256_setzero_si256());
            parts[part] = _mm256_or_si256(parts[part], _mm256_andnot_si256(zero, _mm256_set1_epi16((int16_t)(1 << k))));
        }
    }
    interleave(parts, v);
    for (int i = 0; i < 4; i++) {
        _mm_storeu_si128((__m128i *)(nonzero + 2 * i), _mm256_castsi256_si128(v[i]));
        _mm_storeu_si128((__m128i *)(nonzero + 8 + 2 * i), _mm256_extracti128_si256(v[i], 1));
    }
}

/* ---- between the transforms ---- */

INLINE V weighed(V a, V b, int x, int y, int round) /* (a x + b y + round) / 65,536, downwards */
{
    W sum = times(both(a, b), x, y);
    sum.low = _mm256_srai_epi32(_mm256_add_epi32(sum.low, _mm256_set1_epi32(round)), 16);
    sum.high = _mm256_srai_epi32(_mm256_add_epi32(sum.high, _mm256_set1_epi32(round)), 16);
    return _mm256_packs_epi32(sum.low, sum.high);
}

INLINE V share(V doubled, int factor) /* the half of doubled * factor / 65,536, rounded */
{
    V product = _mm256_mulhi_epi16(doubled, _mm256_set1_epi16((int16_t)factor));
    return _mm256_srai_epi16(_mm256_add_epi16(product, _mm256_set1_epi16(1)), 1);
}

INLINE int64_t total(__m256i v)
{
    int32_t lanes[8];
    int64_t sum = 0;
    _mm256_storeu_si256((__m256i *)lanes, v);
    for (int l = 0; l < 8; l++) sum += lanes[l];
    return sum;
}

/* Samples of Y, Cb, Cr [64][LANES] as they were decoded to what an encoder makes of their RGB; the differences of R, G, B are summed.
   The factors are libjpeg's over 65,536, less what makes them 16 bits. Lanes without a block are grey: they add 0. */
static SIMD void recolour(int16_t *luma, int16_t *cb, int16_t *cr, int64_t all_sums[3], int64_t all_squares[3])
{
    __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()}, squares[3] = {sums[0], sums[0], sums[0]};
    const V middle = _mm256_set1_epi16(128), one = _mm256_set1_epi16(1);
    for (int i = 0; i < 64 * LANES; i += LANES) {
        V y = load(luma + i), u = _mm256_sub_epi16(load(cb + i), middle), v = _mm256_sub_epi16(load(cr + i), middle);
        V u2 = _mm256_add_epi16(u, u), v2 = _mm256_add_epi16(v, v);
        V r0 = _mm256_add_epi16(_mm256_add_epi16(y, v), share(v2, 91881 - 65536));
        V g0 = _mm256_add_epi16(_mm256_sub_epi16(y, v), weighed(u, v, -22554, 65536 - 46802, 32768));
        V b0 = _mm256_add_epi16(_mm256_add_epi16(y, u2), share(u2, 116130 - 2 * 65536));
        V r = clipped(r0), g = clipped(g0), b = clipped(b0);
        V rg = _mm256_sub_epi16(r, g), gb = _mm256_sub_epi16(g, b), br = _mm256_sub_epi16(b, r);
        sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(rg, one));
        sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(gb, one));
        squares[0] = _mm256_add_epi32(squares[0], _mm256_madd_epi16(rg, rg));
        squares[1] = _mm256_add_epi32(squares[1], _mm256_madd_epi16(gb, gb));
        squares[2] = _mm256_add_epi32(squares[2], _mm256_madd_epi16(br, br));
        V cut = _mm256_or_si256(_mm256_or_si256(_mm256_xor_si256(r, r0), _mm256_xor_si256(g, g0)), _mm256_xor_si256(b, b0));
        if (_mm256_testz_si256(cut, cut)) continue; /* Y, Cb, Cr come back as they were: true of all 2^16 pairs of Cb and Cr */
        store(luma + i, _mm256_add_epi16(g, weighed(rg, gb, 19595, -7471, 32768)));
        store(cb + i, _mm256_add_epi16(middle, weighed(br, gb, 11059, -21709, 32767)));
        store(cr + i, _mm256_add_epi16(middle, weighed(rg, br, 27439, -5329, 32767)));
    }
    for (int c = 0; c < 3; c++) all_squares[c] += total(squares[c]);
    int64_t rg = total(sums[0]), gb = total(sums[1]);
    all_sums[0] += rg, all_sums[1] += gb, all_sums[2] -= rg + gb;
}

/* A row of blocks at full resolution to half a row of blocks, the upper or the lower, of the averages of 2 x 2. */
static SIMD void halve(const int16_t *full, int16_t *half, int lower, int group)
{
    for (int y = 0; y < 4; y++) {
        for (int x = 0; x < 4; x++) {
            const int16_t *at = full + (y * 16 + x * 2) * LANES;
            V upper = _mm256_add_epi16(load(at), load(at + LANES)), under = _mm256_add_epi16(load(at + 8 * LANES), load(at + 9 * LANES));
            V half_up = _mm256_set1_epi16((int16_t)(1 + (x & 1))); /* libjpeg rounds halves down and up by turns */
            V sum = _mm256_srli_epi16(_mm256_add_epi16(_mm256_add_epi16(upper, under), half_up), 2);
            int16_t *left = half + ((y + lower * 4) * 8 + x) * LANES + (group & 1) * 8;
            _mm_storeu_si128((__m128i *)left, _mm256_castsi256_si128(sum));
            _mm_storeu_si128((__m128i *)(left + 4 * LANES), _mm256_extracti128_si256(sum, 1));
        }
    }
}

/* Samples of luma to their pixels. */
static SIMD void place(const int16_t *samples, int blocks, uint8_t *pixels, size_t width)
{
    for (int y = 0; y < 8; y++) {
        V pairs[4], eights[4];
        uint8_t row[LANES * 8];
        for (int i = 0; i < 4; i++) {
            const int16_t *at = samples + (y * 8 + i * 2) * LANES;
            pairs[i] = _mm256_or_si256(load(at), _mm256_slli_epi16(load(at + LANES), 8));
        }
        interleave(pairs, eights);
        for (int i = 0; i < 4; i++) _mm256_storeu_si256((__m256i *)(row + i * 32), _mm256_permute4x64_epi64(eights[i], 0xD8));
        memcpy(pixels + (size_t)y * width, row, (size_t)blocks * 8);
    }
}
