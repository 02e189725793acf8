/* The part of libjpeg's binary interface, version 62, that turbo.c uses.
 *
 * The library itself comes with Pillow's wheel and is opened at run time; no header of it
 * is needed to build. Fields that are used bear libjpeg's names, so that a test can hold
 * each offset against jpeglib.h; the others are room. jpeg_CreateDecompress and
 * jpeg_CreateCompress refuse a caller whose version or size is another one.
 */
#ifndef FIBERAUG_TURBO_H
#define FIBERAUG_TURBO_H

#include <stddef.h>

enum { INTERFACE = 62, BLOCK = 64 };
enum space { SPACE_GRAY = 1, SPACE_RGB = 2, SPACE_YCC = 3 };
enum marker { MARKER_APP0 = 0xE0, MARKER_COM = 0xFE };

struct common;
struct decompressor;
struct compressor;

struct errors {
    void (*error_exit)(struct common *);
    void (*emit_message)(struct common *, int level);
    void (*output_message)(struct common *);
    void (*format_message)(struct common *, char *text); /* 200 bytes */
    void (*reset_error_mgr)(struct common *);
    int msg_code;
    union {
        int i[8];
        char s[80];
    } msg_parm;
    int trace_level;
    long num_warnings;
    const char *const *messages;
    int last_message;
    const char *const *more_messages;
    int first_more, last_more;
};

struct progress {
    void (*progress_monitor)(struct common *);
    long pass_counter, pass_limit;
    int completed_passes, total_passes;
};

/* What the records of both directions begin with. */
#define COMMON_FIELDS          \
    struct errors *err;        \
    void *mem;                 \
    struct progress *progress; \
    void *client_data;         \
    int is_decompressor, global_state

struct common {
    COMMON_FIELDS;
};

struct channel {
    int component_id, component_index, h_samp_factor, v_samp_factor;
    int tables[3];
    unsigned int width_in_blocks, height_in_blocks;
    int scaled_size;
    unsigned int downsampled[2];
    int needed, mcu[6];
    void *quant_table, *dct_table;
};

struct saved_marker {
    struct saved_marker *next;
    unsigned char marker;
    unsigned int original_length, data_length;
    unsigned char *data;
};

struct sink {
    unsigned char *next_output_byte;
    size_t free_in_buffer;
    void (*init_destination)(struct compressor *);
    int (*empty_output_buffer)(struct compressor *);
    void (*term_destination)(struct compressor *);
};

struct decompressor {
    COMMON_FIELDS;
    void *src;
    unsigned int image_width, image_height;
    int num_components;
    int jpeg_color_space, out_color_space;
    unsigned int scale_num, scale_denom;
    double output_gamma;
    int buffered_image, raw_data_out;
    int dct_method, do_fancy_upsampling, do_block_smoothing;
    int quantizing[7];
    unsigned int output_width, output_height;
    int out_color_components, output_components, rec_outbuf_height;
    int colors;
    void *colormap;
    unsigned int output_scanline;
    int input_scan_number;
    unsigned int input_row;
    int output_scan_number;
    unsigned int output_row;
    int (*coef_bits)[BLOCK]; /* by channel: bits still to come; -1: nothing came */
    void *tables[12];
    int data_precision;
    struct channel *comp_info;
    int progressive_mode, arith_code;
    unsigned char arithmetic[48];
    unsigned int restart_interval;
    int saw_JFIF_marker;
    unsigned char jfif[3];
    unsigned short density[2];
    int saw_Adobe_marker;
    unsigned char Adobe_transform;
    int cosited;
    struct saved_marker *marker_list;
    int max_h_samp_factor, max_v_samp_factor, min_scaled_size;
    unsigned int total_rows;
    unsigned char *range_limit;
    int comps_in_scan;
    struct channel *cur_comp_info[4];
    unsigned int scan_units[2];
    int blocks_in_unit, membership[10];
    int Ss, Se, Ah, Al;
    int unread_marker;
    void *parts[11];
};

struct compressor {
    COMMON_FIELDS;
    struct sink *dest;
    unsigned int image_width, image_height;
    int input_components, in_color_space;
    double input_gamma;
    int data_precision, num_components, jpeg_color_space;
    struct channel *comp_info;
    void *tables[12];
    unsigned char arithmetic[48];
    int num_scans;
    const void *scan_info;
    int raw_data_in, arith_code, optimize_coding, cosited, smoothing_factor, dct_method;
    unsigned int restart_interval;
    int restart_in_rows;
    int write_JFIF_header;
    unsigned char jfif[3];
    unsigned short density[2];
    int write_Adobe_marker;
    unsigned int next_scanline;
    int progressive_mode, max_h_samp_factor, max_v_samp_factor;
    unsigned int total_rows;
    int comps_in_scan;
    struct channel *cur_comp_info[4];
    unsigned int scan_units[2];
    int blocks_in_unit, membership[10];
    int Ss, Se, Ah, Al;
    void *parts[9];
    void *script_space;
    int script_space_size;
};

/* X(result, name, arguments) for each function that is looked up by its name. */
#define JPEG_FUNCTIONS(X)                                                              \
    X(struct errors *, jpeg_std_error, (struct errors *))                              \
    X(void, jpeg_CreateDecompress, (struct decompressor *, int, size_t))               \
    X(void, jpeg_CreateCompress, (struct compressor *, int, size_t))                   \
    X(void, jpeg_destroy_decompress, (struct decompressor *))                          \
    X(void, jpeg_destroy_compress, (struct compressor *))                              \
    X(void, jpeg_mem_src, (struct decompressor *, const unsigned char *, unsigned long)) \
    X(void, jpeg_save_markers, (struct decompressor *, int, unsigned int))             \
    X(int, jpeg_read_header, (struct decompressor *, int))                             \
    X(int, jpeg_start_decompress, (struct decompressor *))                             \
    X(void, jpeg_crop_scanline,                                                        \
      (struct decompressor *, unsigned int *, unsigned int *))                         \
    X(unsigned int, jpeg_skip_scanlines, (struct decompressor *, unsigned int))        \
    X(unsigned int, jpeg_read_scanlines,                                               \
      (struct decompressor *, unsigned char **, unsigned int))                         \
    X(int, jpeg_finish_decompress, (struct decompressor *))                            \
    X(void *, jpeg_read_coefficients, (struct decompressor *))                         \
    X(void, jpeg_copy_critical_parameters, (struct decompressor *, struct compressor *)) \
    X(void, jpeg_write_coefficients, (struct compressor *, void *))                    \
    X(void, jpeg_write_marker,                                                         \
      (struct compressor *, int, const unsigned char *, unsigned int))                 \
    X(void, jpeg_finish_compress, (struct compressor *))

#endif
