/* The headers and the entropy-coded data of baseline JPEG: read, and counted as they would be written. */

#include <stddef.h>

#include "lanes.h"

#define LOOK 11
#define END 128  /* the run that stands for the end of a block */
#define LONG 128 /* in an entry's bits: the value is not in it */

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
        } else wrong = marker != 0xFE && (marker < 0xE1 || marker > 0xEF || marker == 0xEE); /* words and facts; APP14 can change colours */
        if (wrong) return OTHER;
        at += 2 + length;
    }
    return OTHER;
}

/* ---- reading entropy-coded data ---- */

#define SPARE 256 /* more bytes than one block can take */

/* The data between the header and the end of the picture without the zero bytes after FF; its length, or -1 where it holds another marker
   or no end. */
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

/* The coefficients of up to 16 macroblocks; `reach` is how far along the zigzag any of them goes. */
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

/* One block from its lane of in [64][LANES], of which `nonzero` tells what is not 0, by the zigzag; OTHER where a table lacks a symbol. */
INLINE int write_block(Writer *w, const uint32_t *dc, const uint32_t *ac, const uint16_t *places, int *last, const int16_t *in,
                       uint64_t nonzero)
{
    int value = in[0] - *last, size = size_of(value), at = 0, missing = !dc[size];
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
