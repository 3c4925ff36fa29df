/* The size that a JPEG picture has after it is decoded and encoded again, and numbers of its pixels, in one pass that writes no JPEG.

   recode() does what libjpeg does between JPEG and JPEG, bit for bit: entropy decoding, the accurate integer inverse DCT, YCbCr to RGB and
   back (with its clipping), 2 x 2 averages of chroma, the accurate integer forward DCT, quantisation, and the entropy coder, of which only
   the length is kept. It takes the common case alone: baseline, Huffman, 8 bits, Y Cb Cr at full resolution, no restart intervals, sides
   that are multiples of 16, a processor with AVX2. Everything else, and whatever looks wrong, gets OTHER, and the caller lets libjpeg
   itself do the work.

   Blocks are worked on 16 at a time, side by side: coefficients and samples are [64][LANES], and one AVX2 vector holds one row of that. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define OTHER 1
#define LARGER 2 /* there is no room for the luma */

typedef struct {
    int width, height;
    int64_t size;       /* bytes of the new JPEG, header included */
    int64_t sums[3];    /* over the pixels, of R - G, G - B, B - R */
    int64_t squares[3]; /* and of their squares */
    int64_t room;       /* in: bytes at luma */
    uint8_t *luma;      /* [height][width] of the picture as it is encoded again */
} Result;

#if !defined(__x86_64__) || !defined(__GNUC__)

int recode(const uint8_t *data, size_t size, const uint8_t *like, size_t like_size, Result *result)
{
    (void)data, (void)size, (void)like, (void)like_size, (void)result;
    return OTHER;
}

#else

#include <immintrin.h>

#define LANES 16
#define LOOK 11
#define LARGEST 16384
#define END 128  /* the run that stands for the end of a block */
#define LONG 128 /* in an entry's bits: the value is not in it */
#define SIMD __attribute__((target("avx2,bmi,bmi2,lzcnt")))
#define INLINE static inline __attribute__((always_inline)) SIMD

typedef struct {
    /* By the next LOOK bits: value << 16 | run << 8 | bits of code and value, where they fit; symbol << 8 | LONG | bits of the code, where
       that fits; else LONG. DC symbols have no run. */
    int32_t look[1 << LOOK];
    int32_t top[18];    /* by length: the first code of 16 bits that is longer */
    int32_t offset[17]; /* by length: index of its first symbol less its first code */
    uint8_t symbols[256];
    uint32_t code[256]; /* for writing, by symbol: the code with room for the value << 6 | bits of both; 0 where there is none */
    int there, dc;
} Huffman;

typedef struct {
    int width, height;
    uint16_t quant[4][64]; /* in natural order */
    int has_quant[4];
    Huffman dc[4], ac[4];
    struct {
        int id, sampling, quant, dc, ac;
    } component[3];
    int jfif, components;
    size_t scan; /* where the entropy-coded data begins */
} Header;

static const uint8_t ZIGZAG[64] = {0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
                                   41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
                                   30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};

/* ---- the header ---- */

static int32_t entry_of(int symbol, int length, uint32_t rest, int dc)
{
    int bits = symbol & 15, left = LOOK - length - bits, run = dc ? 0 : symbol ? symbol >> 4 : END;
    int32_t value = 0;
    if (left < 0) return symbol << 8 | LONG | length;
    if (bits) {
        value = (int32_t)(rest >> left & ((1u << bits) - 1));
        if (value < 1 << (bits - 1)) value -= (1 << bits) - 1;
    }
    return (int32_t)((uint32_t)value << 16 | (uint32_t)run << 8 | (uint32_t)(length + bits));
}

static int huffman_table(Huffman *table, const uint8_t *counts, const uint8_t *symbols, int total, int dc)
{
    memset(table, 0, sizeof *table);
    memcpy(table->symbols, symbols, (size_t)total);
    for (int i = 0; i < 1 << LOOK; i++) table->look[i] = LONG;
    uint32_t code = 0;
    int at = 0;
    for (int length = 1; length <= 16; length++) {
        table->offset[length] = at - (int32_t)code;
        for (int i = 0; i < counts[length - 1]; i++, at++, code++) {
            int symbol = symbols[at];
            if (code >> length || table->code[symbol]) return OTHER;
            if (dc ? symbol > 11 : (symbol & 15) > 10 || (!(symbol & 15) && symbol && symbol != 0xF0)) return OTHER;
            table->code[symbol] = code << ((symbol & 15) + 6) | (uint32_t)(length + (symbol & 15));
            if (length > LOOK) continue;
            for (uint32_t rest = 0; rest < 1u << (LOOK - length); rest++)
                table->look[code << (LOOK - length) | rest] = entry_of(symbol, length, rest, dc);
        }
        table->top[length] = (int32_t)(code << (16 - length));
        code <<= 1;
    }
    table->top[17] = 1 << 16;
    table->there = 1;
    table->dc = dc;
    return 0;
}

static int read_huffman(Header *h, const uint8_t *at, size_t left)
{
    while (left) {
        if (left < 17) return OTHER;
        int place = at[0], total = 0;
        for (int i = 1; i <= 16; i++) total += at[i];
        if ((place & 15) > 3 || place >> 4 > 1 || total > 256 || left < 17 + (size_t)total) return OTHER;
        int dc = !(place >> 4);
        if (huffman_table(dc ? &h->dc[place & 15] : &h->ac[place & 15], at + 1, at + 17, total, dc)) return OTHER;
        at += 17 + total;
        left -= 17 + (size_t)total;
    }
    return 0;
}

static int read_quant(Header *h, const uint8_t *at, size_t left)
{
    for (; left; at += 65, left -= 65) {
        if (left < 65 || at[0] > 3) return OTHER;
        for (int k = 0; k < 64; k++) {
            if (!at[1 + k]) return OTHER;
            h->quant[at[0]][ZIGZAG[k]] = at[1 + k];
        }
        h->has_quant[at[0]] = 1;
    }
    return 0;
}

static int read_frame(Header *h, const uint8_t *at, size_t left)
{
    if (h->components || left != 15 || at[0] != 8 || at[5] != 3) return OTHER;
    h->height = at[1] << 8 | at[2];
    h->width = at[3] << 8 | at[4];
    h->components = 3;
    for (int c = 0; c < 3; c++) {
        h->component[c].id = at[6 + 3 * c];
        h->component[c].sampling = at[7 + 3 * c];
        h->component[c].quant = at[8 + 3 * c];
        if (h->component[c].id != c + 1 || h->component[c].quant > 3) return OTHER;
    }
    return 0;
}

static int read_scan(Header *h, const uint8_t *at, size_t left)
{
    if (!h->components || left != 10 || at[0] != 3 || at[7] != 0 || at[8] != 63 || at[9] != 0) return OTHER;
    for (int c = 0; c < 3; c++) {
        int tables = at[2 + 2 * c];
        if (at[1 + 2 * c] != h->component[c].id || (tables & 15) > 3 || tables >> 4 > 3) return OTHER;
        h->component[c].dc = tables >> 4;
        h->component[c].ac = tables & 15;
        if (!h->dc[tables >> 4].there || !h->ac[tables & 15].there || !h->has_quant[h->component[c].quant]) return OTHER;
    }
    return 0;
}

static int read_header(Header *h, const uint8_t *data, size_t size)
{
    if (size < 4 || data[0] != 0xFF || data[1] != 0xD8) return OTHER;
    for (size_t at = 2; at + 4 <= size;) {
        int marker = data[at + 1], wrong = 0;
        size_t length = (size_t)data[at + 2] << 8 | data[at + 3];
        if (data[at] != 0xFF || length < 2 || at + 2 + length > size) return OTHER;
        const uint8_t *body = data + at + 4;
        if (marker == 0xC4) wrong = read_huffman(h, body, length - 2);
        else if (marker == 0xDB) wrong = read_quant(h, body, length - 2);
        else if (marker == 0xC0) wrong = read_frame(h, body, length - 2);
        else if (marker == 0xE0) h->jfif |= length >= 7 && !memcmp(body, "JFIF", 5);
        else if (marker == 0xDA) {
            h->scan = at + 2 + length;
            return read_scan(h, body, length - 2) || !h->jfif;
        } else wrong = !(marker == 0xFE || (marker > 0xE0 && marker < 0xEE) || marker == 0xEF); /* words and facts; APP14 can change colours */
        if (wrong) return OTHER;
        at += 2 + length;
    }
    return OTHER;
}

/* ---- reading entropy-coded data ---- */

#define SPARE 256 /* more bytes than one block can take */

/* The data between the header and the end of the picture without the zero bytes after FF; its length, or -1 where it holds anything else. */
static int64_t unstuff(const uint8_t *data, size_t size, uint8_t *out)
{
    const uint8_t *at = data, *end = data + size;
    uint8_t *to = out;
    for (;;) {
        const uint8_t *mark = memchr(at, 0xFF, (size_t)(end - at));
        if (!mark || mark + 1 >= end) return -1;
        memcpy(to, at, (size_t)(mark - at));
        to += mark - at;
        at = mark + 2;
        if (mark[1] == 0xD9) break;
        if (mark[1] != 0) return -1;
        *to++ = 0xFF;
    }
    memset(to, 0, SPARE);
    return to - out;
}

typedef struct {
    const uint8_t *at, *end;
    uint64_t bits; /* the next ones, from the top */
    int count;     /* how many of them are there, at least; what follows them is right too, or zero */
} Reader;

INLINE void refill(Reader *r) /* to at least 56 bits */
{
    uint64_t word;
    memcpy(&word, r->at, 8);
    r->bits |= __builtin_bswap64(word) >> r->count;
    r->at += (63 - r->count) >> 3;
    r->count |= 56;
}

INLINE void drop(Reader *r, int count)
{
    r->bits <<= count;
    r->count -= count;
}

/* An entry like those that hold a value, of which no bits are left to drop; -1 for a code that the table lacks. */
static SIMD __attribute__((noinline)) int32_t long_entry(Reader *r, const Huffman *table, int32_t entry)
{
    int length = entry & 63, symbol = entry >> 8 & 255;
    if (!length) {
        int32_t next = (int32_t)(r->bits >> 48);
        for (length = LOOK + 1; next >= table->top[length];) length++;
        if (length > 16) return -1;
        symbol = table->symbols[((next >> (16 - length)) + table->offset[length]) & 255];
    }
    int bits = symbol & 15, run = table->dc ? 0 : symbol ? symbol >> 4 : END;
    drop(r, length);
    if (!bits) return run << 8;
    int32_t value = (int32_t)(r->bits >> (64 - bits));
    drop(r, bits);
    if (value < 1 << (bits - 1)) value -= (1 << bits) - 1;
    return (int32_t)((uint32_t)value << 16 | (uint32_t)run << 8);
}

INLINE int32_t next_entry(Reader *r, const Huffman *table)
{
    int32_t entry = table->look[r->bits >> (64 - LOOK)];
    if (__builtin_expect(entry & LONG, 0)) {
        Reader copy = *r; /* so that the address of *r is never taken, and it stays in registers */
        entry = long_entry(&copy, table, entry);
        *r = copy;
    }
    drop(r, entry & 63);
    return entry;
}

/* One block into its lane of out [64][LANES]; the number of zigzag places up to its last coefficient, or -1. */
INLINE int read_block(Reader *r, const Huffman *dc, const Huffman *ac, const uint16_t *places, int *last, int16_t *out)
{
    if (r->at >= r->end + 8) return -1;
    refill(r);
    int32_t entry = next_entry(r, dc);
    if (entry == -1) return -1;
    *last += entry >> 16;
    if (*last < -2047 || *last > 2047) return -1;
    out[0] = (int16_t)*last;
    size_t k = 1;
#define NEXT \
    entry = next_entry(r, ac); \
    k += (uint32_t)entry >> 8 & 255; \
    if (k > 63) return entry == -1 || k < END ? -1 : (int)k - END; \
    out[places[k]] = (int16_t)(entry >> 16); \
    k++
    for (;;) { /* a value takes at most 27 bits, so that two of them need no refill between them */
        NEXT;
        refill(r);
        if (k > 63) return 64;
        NEXT;
        if (k > 63) return 64;
    }
#undef NEXT
}

/* The coefficients of up to 16 macroblocks; `reach` is how far along the zigzag any of them goes. Even blocks come first, so that the two
   that one block of halved chroma is made of are 8 lanes apart. */
#define LANE(x) (((x) & 1) << 3 | (x) >> 1)

static SIMD int read_group(const Header *h, Reader *reader, int last[3], int blocks, int16_t coefficients[3][64 * LANES], int reach[3])
{
    Reader local = *reader;
    uint16_t places[64];
    for (int k = 0; k < 64; k++) places[k] = (uint16_t)(ZIGZAG[k] * LANES);
    for (int x = 0; x < blocks; x++) {
        for (int c = 0; c < 3; c++) {
            const Huffman *dc = &h->dc[h->component[c].dc], *ac = &h->ac[h->component[c].ac];
            int count = read_block(&local, dc, ac, places, &last[c], coefficients[c] + LANE(x));
            if (count < 0) return OTHER;
            reach[c] = count > reach[c] ? count : reach[c];
        }
    }
    *reader = local;
    return 0;
}

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
static SIMD void recolour(int16_t *luma, int16_t *cb, int16_t *cr, Result *result)
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
    for (int c = 0; c < 3; c++) result->squares[c] += total(squares[c]);
    int64_t rg = total(sums[0]), gb = total(sums[1]);
    result->sums[0] += rg, result->sums[1] += gb, result->sums[2] -= rg + gb;
}

/* A row of blocks at full resolution to half a row of blocks, the upper or the lower, of the averages of 2 x 2. */
static SIMD void halve(const int16_t *full, int16_t *half, int lower, int group)
{
    for (int y = 0; y < 4; y++) {
        for (int x = 0; x < 4; x++) {
            const int16_t *at = full + (y * 16 + x * 2) * LANES;
            V sum = _mm256_add_epi16(_mm256_add_epi16(load(at), load(at + LANES)), _mm256_add_epi16(load(at + 8 * LANES), load(at + 9 * LANES)));
            sum = _mm256_srli_epi16(_mm256_add_epi16(sum, _mm256_set1_epi16((int16_t)(1 + (x & 1)))), 2); /* libjpeg rounds down, up, down */
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

/* ---- the length of what the entropy coder would write ---- */

typedef struct {
    uint64_t bits; /* not yet whole bytes, from the top */
    int used;      /* so many of them */
    uint8_t *at;
} Writer;

INLINE void put(Writer *w, uint64_t code, int length) /* at most 57 bits */
{
    w->used += length;
    w->bits |= code << (64 - w->used);
    uint64_t word = __builtin_bswap64(w->bits);
    memcpy(w->at, &word, 8);
    w->at += w->used >> 3;
    w->bits <<= w->used & 56;
    w->used &= 7;
}

INLINE int size_of(int value) /* in bits, without the sign */
{
    return 32 - (int)_lzcnt_u32((uint32_t)(value < 0 ? -value : value));
}

INLINE void put_value(Writer *w, uint32_t code, int value, int size)
{
    put(w, code >> 6 | _bzhi_u32((uint32_t)(value + (value >> 31)), (uint32_t)size), (int)(code & 63));
}

INLINE int write_block(Writer *w, const uint32_t *dc, const uint32_t *ac, const uint16_t *places, int *last, const int16_t *in, uint64_t nonzero)
{
    int value = in[0] - *last, size = size_of(value), at = 0, missing = !dc[size]; /* a table that lacks a symbol */
    put_value(w, dc[size], value, size);
    *last = in[0];
    for (nonzero &= ~(uint64_t)1; nonzero; nonzero &= nonzero - 1) {
        int k = (int)_tzcnt_u64(nonzero), run = k - at - 1;
        for (; __builtin_expect(run > 15, 0); run -= 16) {
            missing |= !ac[0xF0];
            put(w, ac[0xF0] >> 6, (int)(ac[0xF0] & 63));
        }
        value = in[places[k]], size = size_of(value);
        uint32_t code = ac[run << 4 | size];
        missing |= !code;
        put_value(w, code, value, size);
        at = k;
    }
    if (at < 63) {
        missing |= !ac[0];
        put(w, ac[0] >> 6, (int)(ac[0] & 63));
    }
    return missing;
}

INLINE int64_t stuffed(const uint8_t *at, const uint8_t *end) /* their bytes, and one more for each that is FF */
{
    int64_t bytes = end - at;
    for (; end - at >= 32; at += 32) {
        __m256i full = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i *)at), _mm256_set1_epi8(-1));
        bytes += __builtin_popcount((unsigned)_mm256_movemask_epi8(full));
    }
    for (; at < end; at++) bytes += *at == 0xFF;
    return bytes;
}

/* ---- the picture ---- */

typedef struct {
    int16_t coefficients[64 * LANES];
    uint64_t nonzero[LANES];
} __attribute__((aligned(32))) Group;

typedef struct {
    Header from, to;
    Divisors divisors[2];
    Group *luma[2], *chroma[2]; /* a row of macroblocks, as quantised: two rows of luma blocks, one each of Cb and Cr */
    int16_t *halves[2];         /* the samples of Cb and Cr of that row, averaged: [64][LANES] a group */
    uint8_t *scan, *written;    /* the data without stuffing; what is written of a row of macroblocks */
} Work;

/* Sixteen macroblocks' worth of one row of luma blocks; `pixels` is where it lies in the picture. */
static int do_group(Work *work, Reader *r, int last[3], int group, int lower, int blocks, uint8_t *pixels, Result *result)
{
    int16_t coefficients[3][64 * LANES] __attribute__((aligned(32))), samples[3][64 * LANES] __attribute__((aligned(32)));
    int reach[3] = {0};
    memset(coefficients, 0, sizeof coefficients);
    if (read_group(&work->from, r, last, blocks, coefficients, reach)) return OTHER;
    for (int c = 0; c < 3; c++) { /* the first 3 places of the zigzag lie in two columns, the first 10 in four */
        int columns = reach[c] <= 3 ? 2 : reach[c] <= 10 ? 4 : 8;
        if (inverse_dct(coefficients[c], work->from.quant[work->from.component[c].quant], columns, samples[c])) return OTHER;
    }
    recolour(samples[0], samples[1], samples[2], result);
    place(samples[0], blocks, pixels, (size_t)work->from.width);
    Group *luma = &work->luma[lower][group];
    forward_dct(samples[0], &work->divisors[0], luma->coefficients, luma->nonzero);
    for (int c = 0; c < 2; c++) {
        int16_t *half = work->halves[c] + (size_t)(group / 2) * 64 * LANES;
        Group *chroma = &work->chroma[c][group / 2];
        halve(samples[1 + c], half, lower, group);
        if (lower && ((group & 1) || (group + 1) * LANES >= work->from.width / 8))
            forward_dct(half, &work->divisors[1], chroma->coefficients, chroma->nonzero);
    }
    return 0;
}

#define MOST_WRITTEN (6 * 64 * 27 / 8) /* bytes of a macroblock */

/* One row of macroblocks; its bytes, or -1. The bits that do not fill a byte stay in the writer. */
static SIMD int64_t write_row(Work *work, Writer *writer, int last[3])
{
    const Header *to = &work->to;
    Writer local = *writer;
    uint16_t places[64];
    for (int k = 0; k < 64; k++) places[k] = (uint16_t)(ZIGZAG[k] * LANES);
    local.at = work->written;
    for (int x = 0; x < work->from.width / 16; x++) {
        for (int part = 0; part < 6; part++) {
            int c = part < 4 ? 0 : part - 3, block = c ? x : 2 * x + (part & 1), lane = c ? x % LANES : LANE(block % LANES);
            const Group *g = c ? &work->chroma[c - 1][block / LANES] : &work->luma[part >> 1][block / LANES];
            const uint32_t *dc = to->dc[to->component[c].dc].code, *ac = to->ac[to->component[c].ac].code;
            if (write_block(&local, dc, ac, places, &last[c], g->coefficients + lane, g->nonzero[lane])) return -1;
        }
    }
    *writer = local;
    return stuffed(work->written, local.at);
}

static SIMD int do_rows(Work *work, int64_t scan, Result *result)
{
    Reader reader = {work->scan, work->scan + scan, 0, 0};
    Writer writer = {0, 0, work->written};
    int read[3] = {0}, written[3] = {0}, across = work->from.width / 8;
    int64_t size = 0;
    for (int row = 0; row < work->from.height / 8; row++) {
        for (int group = 0; group * LANES < across; group++) {
            int blocks = across - group * LANES < LANES ? across - group * LANES : LANES;
            uint8_t *pixels = result->luma + (size_t)row * 8 * (size_t)work->from.width + (size_t)group * LANES * 8;
            if (do_group(work, &reader, read, group, row & 1, blocks, pixels, result)) return OTHER;
        }
        if (row & 1) {
            int64_t bytes = write_row(work, &writer, written);
            if (bytes < 0) return OTHER;
            size += bytes;
        }
    }
    int64_t left = (reader.end - reader.at) * 8 + reader.count;
    if (left < 0 || left > 7) return OTHER; /* less than a byte may be left: libjpeg is to say what it thinks of anything else */
    if (writer.used) {                      /* the last byte is filled up with ones */
        uint8_t byte = (uint8_t)(writer.bits >> 56) | (uint8_t)(0xFF >> writer.used);
        size += stuffed(&byte, &byte + 1);
    }
    result->size = (int64_t)work->to.scan + size + 2;
    return 0;
}

static void *room(size_t count, size_t each)
{
    void *found = NULL;
    return posix_memalign(&found, 32, count * each) ? NULL : memset(found, 0, count * each);
}

static int whole(Work *work, const uint8_t *data, size_t size, const uint8_t *like, size_t like_size, Result *result)
{
    Header *from = &work->from, *to = &work->to;
    if (read_header(from, data, size)) return OTHER;
    for (int c = 0; c < 3; c++)
        if (from->component[c].sampling != 0x11) return OTHER;
    if (from->width % 16 || from->height % 16 || !from->width || !from->height || from->width > LARGEST || from->height > LARGEST) return OTHER;
    result->width = from->width, result->height = from->height;
    if (result->room < (int64_t)from->width * from->height) return LARGER;
    if (read_header(to, like, like_size) || to->component[0].sampling != 0x22 || to->component[1].sampling != 0x11) return OTHER;
    if (to->component[2].sampling != 0x11 || to->component[1].quant != to->component[2].quant) return OTHER;
    prepare(&work->divisors[0], to->quant[to->component[0].quant]);
    prepare(&work->divisors[1], to->quant[to->component[1].quant]);
    size_t groups = (size_t)(from->width / 8 + LANES - 1) / LANES;
    for (int i = 0; i < 2; i++) {
        work->luma[i] = room(groups, sizeof(Group));
        work->chroma[i] = room(groups, sizeof(Group));
        work->halves[i] = room(groups, 64 * LANES * sizeof(int16_t));
        if (!work->luma[i] || !work->chroma[i] || !work->halves[i]) return OTHER;
    }
    work->scan = malloc(size - from->scan + SPARE);
    work->written = malloc((size_t)(from->width / 16) * MOST_WRITTEN + 8);
    if (!work->scan || !work->written) return OTHER;
    int64_t scan = unstuff(data + from->scan, size - from->scan, work->scan);
    memset(result->sums, 0, sizeof result->sums);
    memset(result->squares, 0, sizeof result->squares);
    return scan < 0 ? OTHER : do_rows(work, scan, result);
}

/* `like` is a JPEG of any picture in the encoding to be measured (4:2:0): its tables are used and its header is counted. 0, OTHER or LARGER. */
int recode(const uint8_t *data, size_t size, const uint8_t *like, size_t like_size, Result *result)
{
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2")) return OTHER;
    Work *work = calloc(1, sizeof *work);
    if (!work) return OTHER;
    int status = whole(work, data, size, like, like_size, result);
    for (int i = 0; i < 2; i++) {
        free(work->luma[i]);
        free(work->chroma[i]);
        free(work->halves[i]);
    }
    free(work->scan);
    free(work->written);
    free(work);
    return status;
}

#endif
