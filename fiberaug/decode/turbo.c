/* fiberaug.decode._turbo: windows of JPEGs, and restart markers, by Pillow's libjpeg.
 *
 * turbo.py is its face and says what the functions promise. What libjpeg only warns of
 * is an error here. libjpeg runs without the GIL; nothing is shared between calls but
 * the table of its functions, which is filled once.
 */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <dlfcn.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "turbo.h"

enum {
    MARGIN = 16,      /* px around a window: upsampling looks a pixel beyond a block */
    MOST_SCANS = 500, /* each scan of a progressive file walks over all of its blocks */
    ROWS = 16         /* read at a time */
};

enum outcome { FAILED, NOT_FOR_ME, DONE };
#define FIELD(result, name, arguments) result(*name) arguments;
static struct {
    JPEG_FUNCTIONS(FIELD)
} lib;
static int loaded;

/* An error of libjpeg ends in a jump to the function that began the work. */
struct failure {
    struct errors errors; /* first: libjpeg hands out its address */
    jmp_buf jump;
    char text[200];
};

static _Noreturn void fail(struct common *c, const char *text)
{
    struct failure *failure = (struct failure *)c->err;
    strncpy(failure->text, text, sizeof failure->text - 1);
    longjmp(failure->jump, 1);
}

static _Noreturn void fail_as_told(struct common *c)
{
    char text[200];
    c->err->format_message(c, text);
    fail(c, text);
}

static void hear(struct common *c, int level)
{
    if (level < 0) /* a warning; the others are for the curious */
        fail_as_told(c);
}

static void count_scans(struct common *c)
{
    if (c->is_decompressor && ((struct decompressor *)c)->input_scan_number > MOST_SCANS)
        fail(c, "the JPEG has more than 500 scans");
}

static struct errors *watched(struct failure *failure)
{
    memset(failure, 0, sizeof *failure);
    lib.jpeg_std_error(&failure->errors);
    failure->errors.error_exit = failure->errors.output_message = fail_as_told;
    failure->errors.emit_message = hear;
    return &failure->errors;
}

/* Read the header of a file; false where it is of a kind that is left to others. */
static int open_file(struct decompressor *c, const Py_buffer *data)
{
    lib.jpeg_mem_src(c, data->buf, (unsigned long)data->len);
    lib.jpeg_read_header(c, 1);
    int gray = c->num_components == 1 && c->jpeg_color_space == SPACE_GRAY;
    int color = c->num_components == 3 &&
                (c->jpeg_color_space == SPACE_YCC || c->jpeg_color_space == SPACE_RGB);
    int lossless = !c->progressive_mode && c->Se == 0;
    if (!(gray || color) || c->data_precision != 8 || c->arith_code || lossless)
        return 0;
    for (int i = 0; i < c->num_components; i++)
        if (c->max_h_samp_factor % c->comp_info[i].h_samp_factor ||
            c->max_v_samp_factor % c->comp_info[i].v_samp_factor)
            return 0; /* 3 : 2 can be read, but not be brought to one size */
    return 1;
}

/* A progressive file that lacks its last bits is smoothed across many blocks. */
static int is_unfinished(const struct decompressor *c)
{
    if (c->progressive_mode && c->coef_bits != NULL)
        for (int i = 0; i < c->num_components; i++)
            for (int k = 0; k < BLOCK; k++)
                if (c->coef_bits[i][k] != 0)
                    return 1;
    return 0;
}

struct window {
    unsigned int width, height; /* of the whole file; 0: only its last pixel is read */
    unsigned int x0, y0, x1, y1, scale;
    unsigned char *out;
    unsigned char *scratch; /* a few rows, taken when the window is read */
};

static void read_window(struct decompressor *c, struct window *w)
{
    struct common *common = (struct common *)c;
    size_t stride = (size_t)3 * (w->x1 - w->x0);
    unsigned int left = w->x0 > MARGIN ? w->x0 - MARGIN : 0;
    unsigned int top = w->y0 > MARGIN ? w->y0 - MARGIN : 0;
    unsigned int beside = c->output_width - w->x1;
    unsigned int width = w->x1 + (beside < MARGIN ? beside : MARGIN) - left;
    unsigned char *rows[ROWS];
    if (width < c->output_width)
        lib.jpeg_crop_scanline(c, &left, &width); /* both grow to whole MCUs */
    if (left > w->x0 || left + width < w->x1)
        fail(common, "libjpeg gives other columns than it was asked for");
    size_t row = (size_t)3 * width;
    if ((w->scratch = malloc(ROWS * row)) == NULL)
        fail(common, "no memory for a few rows of the JPEG");
    if (top > 0)
        lib.jpeg_skip_scanlines(c, top);
    while (c->output_scanline < w->y1) {
        unsigned int y = c->output_scanline;
        int within = y >= w->y0;
        unsigned int count = (within ? w->y1 : w->y0) - y;
        unsigned char *to = within ? w->out + (y - w->y0) * stride : NULL;
        int straight = within && row == stride;
        count = count < ROWS ? count : ROWS;
        for (unsigned int i = 0; i < count; i++)
            rows[i] = (straight ? to : w->scratch) + i * row;
        count = lib.jpeg_read_scanlines(c, rows, count);
        if (count == 0)
            fail(common, "libjpeg gives no more rows");
        if (within && !straight)
            for (unsigned int i = 0; i < count; i++)
                memcpy(to + i * stride, rows[i] + (size_t)3 * (w->x0 - left), stride);
    }
    if (w->y1 == c->output_height)
        lib.jpeg_finish_decompress(c); /* looks for the end of the file */
}

static enum outcome decode_opened(struct decompressor *c, const Py_buffer *data,
                                  struct window *w)
{
    if (!open_file(c, data))
        return NOT_FOR_ME;
    if (w->width == 0) {
        w->x1 = w->width = c->image_width;
        w->y1 = w->height = c->image_height;
        w->x0 = w->x1 - 1;
        w->y0 = w->y1 - 1;
    }
    c->out_color_space = SPACE_RGB;
    c->scale_num = 1;
    c->scale_denom = w->scale;
    if (c->image_width != w->width || c->image_height != w->height)
        return NOT_FOR_ME;
    lib.jpeg_start_decompress(c);
    if (is_unfinished(c) || w->x1 > c->output_width || w->y1 > c->output_height)
        return NOT_FOR_ME;
    read_window(c, w);
    return DONE;
}

static enum outcome decode_window(const Py_buffer *data, struct window *w,
                                  struct failure *failure)
{
    struct decompressor c = {.err = watched(failure)};
    struct progress progress = {.progress_monitor = count_scans};
    enum outcome outcome;

    w->scratch = NULL;
    if (setjmp(failure->jump)) {
        outcome = FAILED;
    } else {
        lib.jpeg_CreateDecompress(&c, INTERFACE, sizeof c);
        c.progress = &progress;
        outcome = decode_opened(&c, data, w);
    }
    lib.jpeg_destroy_decompress(&c);
    free(w->scratch);
    return outcome;
}

/* A file that grows in memory. */
struct file {
    struct sink sink; /* first: libjpeg hands out its address */
    unsigned char *bytes;
    size_t size; /* what is taken, in the end what is used */
};

static void start_file(struct compressor *k)
{
    struct file *file = (struct file *)k->dest;
    file->sink.next_output_byte = file->bytes;
    file->sink.free_in_buffer = file->size;
}

static int grow_file(struct compressor *k)
{
    struct file *file = (struct file *)k->dest;
    unsigned char *larger = realloc(file->bytes, 2 * file->size);
    if (larger == NULL)
        fail((struct common *)k, "no memory for the JPEG that is written");
    file->bytes = larger;
    file->sink.next_output_byte = larger + file->size; /* it is called when all is full */
    file->sink.free_in_buffer = file->size;
    file->size *= 2;
    return 1;
}

static void end_file(struct compressor *k)
{
    struct file *file = (struct file *)k->dest;
    file->size -= file->sink.free_in_buffer;
}

static enum outcome copy_opened(struct decompressor *c, struct compressor *k,
                                const Py_buffer *data, const int apart[2])
{
    struct saved_marker **end = &c->marker_list;

    lib.jpeg_save_markers(c, MARKER_COM, 0xFFFF);
    for (int i = 0; i < 16; i++)
        lib.jpeg_save_markers(c, MARKER_APP0 + i, 0xFFFF);
    if (!open_file(c, data))
        return NOT_FOR_ME;
    while (*end != NULL)
        end = &(*end)->next;
    void *coefficients = lib.jpeg_read_coefficients(c);
    /* A marker between scans could mean something at the beginning. */
    if (is_unfinished(c) || *end != NULL)
        return NOT_FOR_ME;
    lib.jpeg_copy_critical_parameters(c, k);
    k->restart_interval = (unsigned int)apart[0];
    k->restart_in_rows = apart[1];
    k->optimize_coding = 1;
    k->write_JFIF_header = k->write_Adobe_marker = 0; /* they are among the saved ones */
    lib.jpeg_write_coefficients(k, coefficients);
    for (const struct saved_marker *m = c->marker_list; m != NULL; m = m->next)
        lib.jpeg_write_marker(k, m->marker, m->data, m->data_length);
    lib.jpeg_finish_compress(k);
    lib.jpeg_finish_decompress(c);
    return DONE;
}

static enum outcome copy_file(const Py_buffer *data, const int apart[2],
                              struct file *file, struct failure *failure)
{
    struct decompressor c = {.err = watched(failure)};
    struct compressor k = {.err = &failure->errors};
    struct progress progress = {.progress_monitor = count_scans};
    enum outcome outcome;

    if (setjmp(failure->jump)) {
        outcome = FAILED;
    } else {
        lib.jpeg_CreateDecompress(&c, INTERFACE, sizeof c);
        lib.jpeg_CreateCompress(&k, INTERFACE, sizeof k);
        c.progress = &progress;
        k.dest = (struct sink *)file;
        outcome = data == NULL ? DONE : copy_opened(&c, &k, data, apart);
    }
    lib.jpeg_destroy_compress(&k);
    lib.jpeg_destroy_decompress(&c);
    return outcome;
}

static PyObject *load(PyObject *module, PyObject *arguments)
{
    const char *path;
    struct failure failure;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "s", &path))
        return NULL;
    if (loaded)
        Py_RETURN_TRUE;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    /* Of libjpeg-turbo 3 and later: earlier ones cut wrongly here and there. */
    if (library == NULL || dlsym(library, "jpeg12_crop_scanline") == NULL)
        Py_RETURN_FALSE;
#define LOOK_UP(result, name, arguments)         \
    *(void **)&lib.name = dlsym(library, #name); \
    if (lib.name == NULL)                        \
        Py_RETURN_FALSE;
    JPEG_FUNCTIONS(LOOK_UP)
    loaded = copy_file(NULL, NULL, NULL, &failure) == DONE; /* its records' sizes fit */
    return PyBool_FromLong(loaded);
}

static int ready(void)
{
    return loaded || (PyErr_SetString(PyExc_RuntimeError, "load a library first"), 0);
}

static PyObject *answer(enum outcome outcome, const struct failure *failure)
{
    if (outcome != FAILED)
        return PyBool_FromLong(outcome == DONE);
    PyErr_SetString(PyExc_ValueError, failure->text);
    return NULL;
}

static PyObject *decode(PyObject *module, PyObject *arguments)
{
    Py_buffer data, out;
    struct window w;
    struct failure failure;
    enum outcome outcome;
    PyObject *result = NULL;
    (void)module;
    if (!ready() || !PyArg_ParseTuple(arguments, "y*w*IIIIIII", &data, &out, &w.width,
                                      &w.height, &w.x0, &w.y0, &w.x1, &w.y1, &w.scale))
        return NULL;
    if (w.x0 >= w.x1 || w.y0 >= w.y1 || w.x1 > w.width || w.y1 > w.height) {
        PyErr_SetString(PyExc_ValueError, "the window is empty or leaves the picture");
    } else if ((size_t)out.len != (size_t)3 * (w.x1 - w.x0) * (w.y1 - w.y0)) {
        PyErr_SetString(PyExc_ValueError, "the buffer is not of the window's size");
    } else {
        w.out = out.buf;
        Py_BEGIN_ALLOW_THREADS
        outcome = decode_window(&data, &w, &failure);
        Py_END_ALLOW_THREADS
        result = answer(outcome, &failure);
    }
    PyBuffer_Release(&data);
    PyBuffer_Release(&out);
    return result;
}

static PyObject *check(PyObject *module, PyObject *arguments)
{
    Py_buffer data;
    struct window w = {.scale = 1, .out = (unsigned char[3]){0}};
    struct failure failure;
    enum outcome outcome;
    (void)module;
    if (!ready() || !PyArg_ParseTuple(arguments, "y*", &data))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    outcome = decode_window(&data, &w, &failure);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&data);
    return answer(outcome, &failure);
}

static PyObject *add_restarts(PyObject *module, PyObject *arguments)
{
    Py_buffer data;
    int apart[2]; /* two markers: in MCUs; in rows of them, where this is not 0 */
    struct file file = {.sink = {.init_destination = start_file,
                                 .empty_output_buffer = grow_file,
                                 .term_destination = end_file}};
    struct failure failure;
    enum outcome outcome;
    PyObject *result = NULL;
    (void)module;
    if (!ready() || !PyArg_ParseTuple(arguments, "y*ii", &data, &apart[0], &apart[1]))
        return NULL;
    file.bytes = malloc(file.size = (size_t)data.len + 4096);
    if (apart[0] < 0 || apart[0] > 0xFFFF || apart[1] < 0 || apart[1] > 0xFFFF) {
        PyErr_SetString(PyExc_ValueError, "an interval is 0 to 65535");
    } else if (file.bytes == NULL) {
        PyErr_NoMemory();
    } else {
        Py_BEGIN_ALLOW_THREADS
        outcome = copy_file(&data, apart, &file, &failure);
        Py_END_ALLOW_THREADS
        if (outcome == DONE)
            result = PyBytes_FromStringAndSize((char *)file.bytes, (Py_ssize_t)file.size);
        else
            result = outcome == FAILED ? answer(FAILED, &failure) : Py_NewRef(Py_None);
    }
    free(file.bytes);
    PyBuffer_Release(&data);
    return result;
}

static PyMethodDef methods[] = {
    {"load", load, METH_VARARGS, NULL},
    {"decode", decode, METH_VARARGS, NULL},
    {"check", check, METH_VARARGS, NULL},
    {"add_restarts", add_restarts, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_turbo", .m_methods = methods,
};

PyMODINIT_FUNC PyInit__turbo(void)
{
    return PyModuleDef_Init(&definition);
}
