/* The size that a JPEG picture has after it is decoded and encoded again, and numbers of its pixels, in one pass that writes no JPEG.

   recode() does what libjpeg does between JPEG and JPEG, bit for bit: entropy decoding, the accurate integer inverse DCT, YCbCr to RGB and
   back (with its clipping), 2 x 2 averages of chroma, the accurate integer forward DCT, quantisation, and the entropy coder, of which only
   the length is kept. It takes the common case alone: baseline, Huffman, 8 bits, Y Cb Cr at full resolution, no restart intervals, sides
   that are multiples of 16, a processor with AVX2. Everything else, and whatever looks wrong, gets OTHER, and the caller lets libjpeg
   itself do the work. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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
    return 1; /* OTHER: it is written for x86-64 */
}

#else

#include "huffman.h"

#define LARGEST 16384

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
    recolour(samples[0], samples[1], samples[2], result->sums, result->squares);
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
    if (from->width % 16 || !from->width || from->width > LARGEST) return OTHER;
    if (from->height % 16 || !from->height || from->height > LARGEST) return OTHER;
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

/* `like` is a JPEG of any picture in the encoding to be measured (4:2:0): its tables are used and its header is counted. 0, OTHER or
   LARGER. */
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
